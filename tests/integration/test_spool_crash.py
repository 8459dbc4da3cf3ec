# SPDX-License-Identifier: LGPL-2.1-or-later
"""The spool's promise through kill -9, cuts of the power, I/O errors and a full
disk: every event whose put was answered is delivered or a dead letter, what a
route has settled it never sees again, and the ledgers balance.

../support/spool/spool-driver.c works on the spool and says what it has promised
(spool_facts.py); disk.py is the disk. A failure names its seed and its fault.
EVBUS_TEST_LONG=1: many more of each."""

import os
import random
import shutil
import signal
import subprocess

import pytest

import disk
from evbus_service import build_root, sanitized
from spool_facts import Facts, Lost

LONG = bool(os.environ.get('EVBUS_TEST_LONG'))
SANITIZED = sanitized()


def scaled(normal, long):
    """How often: a process with the sanitizer takes ten times as long to start."""
    return long if LONG else normal // 5 if SANITIZED else normal


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

    def _start(self, arguments, settings, env):
        key = tuple(sorted(settings.items(), key=str))
        if key not in self.preload:
            self.preload[key] = disk.environment(self.root, self.driver, **settings)
        return subprocess.run([self.driver, arguments[0], str(self.root / 'spool'), *map(str, arguments[1:])],
                              capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, **(env or {}), **self.preload[key]})

    def run(self, seed, steps, *mutant, status=(0,), env=None, **settings):
        """One run on the disk; returns whether it came to its end."""
        self.facts.run_began()
        done = self._start(('run', seed, steps, *mutant), settings, env)
        assert done.returncode in status, f'the driver ended with {done.returncode}: {done.stderr}{done.stdout[-500:]}'
        self.facts.read(done.stdout)
        return done.returncode == 0

    def drain(self, facts=None, root=None):
        """Delivers the rest, and judges."""
        facts = facts or self.facts
        facts.run_began()
        done = subprocess.run([self.driver, 'drain', str((root or self.root) / 'spool')], capture_output=True, text=True,
                              check=False, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout
        return facts.read(done.stdout).check()

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


@pytest.fixture
def store(folder):
    return Store(folder)


def case(seed, what):
    """Named in a failure, to be seen again."""
    return f'seed {seed}, {what}'


def sample(rng, total, n):
    """n of the numbers from 1 to total, ascending; all if there are no more."""
    return sorted(rng.sample(range(1, total + 1), min(n, total)))


def attempt(where, function, *arguments, **keywords):
    """So that a failure says which case it was."""
    try:
        return function(*arguments, **keywords)
    except AssertionError as error:
        error.args = (f'{where}: {error}',)
        raise


def test_killed_at_each_operation(store):
    """Before each write, sync, create, rename and unlink in turn, and in the
    midst of each write; of a new spool, up to its orderly end."""
    seed, steps = 1, 6
    total = disk.count_operations(store.logged(seed, steps).records)
    store.drain()
    for fault, n in (('kill', total), ('torn', 50)):
        for number in sample(random.Random(seed), total, scaled(n, total)):
            where = case(seed, f'{fault}@{number}')
            store.reset()
            attempt(where, store.run, seed, steps, status=(0, -signal.SIGKILL), fault=f'{fault}@{number}')
            attempt(where, store.drain)


def test_killed_again_and_again(store):
    """One spool over hundreds of kills: also of the start that follows a kill."""
    rng = random.Random(2)
    kills = 0
    while kills < scaled(200, 5000):
        seed = rng.randrange(1 << 31)
        fault = rng.choice(('kill', 'torn')) + f'@{rng.randrange(1, 120)}'
        kills += not attempt(case(2, f'{seed}, {fault}'), store.run, seed, 10, status=(0, -signal.SIGKILL), fault=fault)
    store.drain()


def test_the_power_is_cut(store):
    """Of some runs, at many moments, with what a disk may make of them."""
    for seed in range(3, 3 + scaled(2, 40)):
        store.reset()
        mine = store.logged(seed, 40)
        mine.replay().check(store.root)
        rng = random.Random(seed)
        mine = disk.Disk(mine.records)
        for record in sample(rng, len(mine.records), 50):
            image = rng.randrange(1 << 31)
            attempt(case(seed, f'cut at record {record} with {image}'), store.cut, mine, record, image)
        store.drain()


def test_the_power_is_cut_again_and_again(store):
    rng = random.Random(7)
    for cut in range(scaled(60, 2000)):
        seed, image = rng.randrange(1 << 31), rng.randrange(1 << 31)
        where = case(7, f'cut {cut}, run {seed}, image {image}')
        base = disk.snapshot(store.root)
        store.log.unlink(missing_ok=True)
        attempt(where, store.run, seed, 10, status=(0, -signal.SIGKILL), log=store.log, fault=f'kill@{rng.randrange(1, 200)}')
        disk.Disk(disk.read_log(store.log), base).replay().image(image, store.root)
    store.facts.conditions = [condition for condition in store.facts.conditions if condition[0] != 'new']
    store.drain()


@pytest.mark.parametrize('kind', ['sync', 'write'])
def test_an_io_error(store, kind):
    """At one operation: the run goes on. At the end the power is cut as well: a sync
    that failed has kept nothing."""
    seed, steps = 11, 12
    records = store.logged(seed, steps).records
    kinds = {'sync': 'bB', 'write': 'wt'}[kind]
    total = sum(record.kind in kinds for record in records)
    rng = random.Random(seed)
    for number in sample(rng, total, scaled(40, total)):
        image = rng.randrange(1 << 31)
        where = case(seed, f'eio@{number}:{kind}, image {image}')
        store.reset()
        store.log.unlink()
        attempt(where, store.run, seed, steps, status=(0, 3), log=store.log, fault=f'eio@{number}:{kind}')
        mine = disk.Disk(disk.read_log(store.log)).replay()
        mine.image(image, store.folder / 'image')
        attempt(where, store.drain, root=store.folder / 'image')


def test_a_full_disk(store, folder):
    """From some operation on there is no space, until step 20: puts are refused and
    not stored, delivery goes on, and it recovers by itself."""
    seed, steps = 13, 30
    total = disk.count_operations(store.logged(seed, 20).records)
    refused = 0
    for number in sample(random.Random(seed), total, scaled(15, total)):
        where = case(seed, f'enospc@{number}')
        store.reset()
        switch = folder / 'full'
        switch.touch()
        complete = attempt(where, store.run, seed, steps, status=(0, 3), fault=f'enospc@{number}', switch=switch,
                           env={'SPOOL_DRIVER_HEAL': '20'})
        assert not complete or store.facts.routes_of, where
        refused += len(store.facts.refused)
        attempt(where, store.drain)
    assert refused > 0


def test_a_full_disk_keeps_what_is_settled(store):
    """With the reserve's help: nothing that was delivered while it is full comes back
    after a kill."""
    seed, steps = 17, 30
    records = store.logged(seed, steps).records
    reserved = next(index for index, record in enumerate(records) if record.kind == 'c' and record.path.endswith('reserve'))
    first, total = (disk.count_operations(part) for part in (records[:reserved + 2], records))
    refused = 0
    for number in sample(random.Random(seed), total - first, scaled(20, total)):
        where = case(seed, f'enospc@{first + number}')
        store.reset()
        attempt(where, store.run, seed, steps, status=(-signal.SIGKILL,), fault=f'enospc@{first + number}',
                env={'SPOOL_DRIVER_KILL': '1'})
        refused += len(store.facts.refused)
        attempt(where, store.drain)
    assert refused > 0


# ---- A test of the tests: a promise broken on purpose is found


@pytest.mark.parametrize('mutant', ['answer-first', 'settle-first'])
def test_kills_find(store, mutant):
    rng = random.Random(1)
    for _ in range(500):
        store.reset()
        store.run(1, 8, mutant, status=(0, -signal.SIGKILL), fault=f'kill@{rng.randrange(60, 200)}')
        try:
            store.drain()
        except Lost:
            return
    raise AssertionError('not found')


def test_cuts_find_a_missing_sync(store):
    mine = store.logged(3, 40, sync=False)
    rng = random.Random(3)
    for record in sorted(rng.choices(range(len(mine.records)), k=500)):
        try:
            store.cut(mine, record, rng.randrange(1 << 31))
        except AssertionError:
            return
    raise AssertionError('not found')
