# SPDX-License-Identifier: LGPL-2.1-or-later
"""A spool on a disk of the tests, worked on by ../support/spool/spool-driver.c."""

import os
import shutil
import sqlite3
import subprocess

import disk
from evbus_service import build_root, sanitized
from spool_facts import Facts

LONG = bool(os.environ.get('EVBUS_TEST_LONG'))
SANITIZED = sanitized()


def scaled(normal, long):
    """How often: a process with the sanitizer takes ten times as long to start."""
    return long if LONG else normal // 5 if SANITIZED else normal


def sample(rng, total, n):
    """n of the numbers from 1 to total, ascending; all if there are no more."""
    return sorted(rng.sample(range(1, total + 1), min(n, total)))


def spread(items, n):
    """n of them, evenly; all if there are no more."""
    return [items[i * len(items) // n] for i in range(n)] if n < len(items) else list(items)


def faults_of(numbered, kills=60, torn=12):
    """Of [(number, kind)], numbers as EVBUS_DISK_FAULT counts them: so many kills before an operation or after the last,
    and in the midst of a write."""
    writes = [number for number, kind in numbered if kind == 'w']
    every = [number for number, _kind in numbered] + [numbered[-1][0] + 1]
    return ([f'kill@{number}' for number in spread(every, scaled(kills, len(every)))] +
            [f'torn@{number}' for number in spread(writes, scaled(torn, len(writes)))])


def attempt(where, function, *arguments, **keywords):
    """So that a failure says which case it was, to be seen again."""
    try:
        return function(*arguments, **keywords)
    except AssertionError as error:
        error.args = (f'{where}: {error}',)
        raise


class Store:
    """A spool below folder/disk, the driver, and what it has said so far."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / 'disk'
        self.log = folder / 'log'
        self.driver = str(build_root() / 'tests/support/spool/spool-driver')
        self.preload = {}
        self.reset()

    def reset(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.facts = Facts()

    def start(self, *arguments, env=None, status=(0,), root=None, **settings):
        """The driver's output; settings are those of disk.environment()."""
        key = tuple(sorted(settings.items(), key=str))
        if settings and key not in self.preload:
            self.preload[key] = disk.environment(self.root, self.driver, **settings)
        arguments = [self.driver, arguments[0], str((root or self.root) / 'spool'), *map(str, arguments[1:])]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, **(env or {}), **self.preload.get(key, {})})
        assert done.returncode in status, f'the driver ended with {done.returncode}: {done.stderr}{done.stdout[-500:]}'
        return done.returncode, done.stdout

    def run(self, seed, steps, *mutant, **keywords):
        """One run; returns whether it came to its end."""
        self.facts.run_began()
        status, text = self.start('run', seed, steps, *mutant, **keywords)
        self.facts.read(text)
        return status == 0

    def drain(self, facts=None, root=None):
        """Delivers the rest, and judges."""
        facts = facts or self.facts
        facts.run_began()
        return facts.read(self.start('drain', root=root)[1]).check()

    def logged(self, seed, steps, *mutant, **settings):
        """A run whose disk can be cut off at any time: the Disk at its start."""
        base = disk.snapshot(self.root)
        self.log.unlink(missing_ok=True)
        self.run(seed, steps, *mutant, log=self.log, **settings)
        return disk.Disk(disk.read_log(self.log), base)

    def cut(self, mine, record, seed):
        """The power is cut at that record of the log."""
        mine.replay(record)
        mine.image(seed, self.folder / 'image')
        facts = Facts().read(b''.join(mine.answers).decode())
        facts.conditions.clear()      # the first start may well be undone
        return self.drain(facts, self.folder / 'image')

    def dump(self):
        """All rows, but for that of the moment, which has the clock."""
        db = sqlite3.connect(self.root / 'spool/spool.db')
        tables = {name: db.execute(f'SELECT * FROM {name} ORDER BY 1').fetchall()
                  for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        tables['route'] = db.execute('SELECT * FROM route WHERE route_id > 0').fetchall()
        tables['version'] = db.execute('PRAGMA user_version').fetchall()
        db.close()
        return tables
