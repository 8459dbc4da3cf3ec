# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged spools: truncated, with flipped bits, overwritten, of another program.
Whatever it finds, it starts and never crashes, delivers no event that is not
whole (the driver checks each body), and is a sound spool again after few starts."""

import random
import shutil
import signal
import sqlite3

import pytest

from spool_facts import Facts
from spool_store import Store, attempt, scaled

PAGE = 4096


def truncate(rng, content):
    return content[:rng.randrange(len(content) + 1)]


def flip(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 8, 100))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def overwrite(rng, content):
    """A page, by nothing, by noise, or by another page."""
    start = rng.randrange(max(len(content) // PAGE, 1)) * PAGE
    other = rng.randrange(max(len(content) // PAGE, 1)) * PAGE
    page = rng.choice((bytes(PAGE), rng.randbytes(PAGE), content[other:other + PAGE]))
    return content[:start] + page + content[start + PAGE:]


def garble_header(rng, content):
    content = bytearray(content)
    for _ in range(3):
        content[rng.randrange(100)] = rng.randrange(256)
    return content


def make_foreign(rng, content):
    return rng.choice((b'', b'not a database\n' * 1000, rng.randbytes(10000), bytes(len(content))))


@pytest.fixture(scope='module')
def spools(tmp_path_factory):
    """Spools as a kill, and as an orderly end leaves them."""
    made = []
    for number, env in enumerate(({'SPOOL_DRIVER_KILL': '1'}, {})):
        store = Store(tmp_path_factory.mktemp(f'spool-{number}'))
        store.run(number, 60, status=(0, -signal.SIGKILL), env=env)
        made.append(store.root)
    return made


def is_sound(text):
    return '\nunread' not in text and '\nunsettled' not in text


def check(store):
    """It starts; if it was found damaged while it was in use, the next start
    mends it."""
    tolerant = {'SPOOL_DRIVER_DAMAGED': '1'}
    for start in range(4):
        _status, text = store.start('drain', env=tolerant)
        if start > 0 and is_sound(text):
            break
    else:
        raise AssertionError(f'it is never mended:\n{text}')
    # And it is a spool again: to a database whose damage SQLite has not met yet, more
    # can happen.
    db = sqlite3.connect(store.root / 'spool/spool.db')
    whole = db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    db.close()
    facts = Facts().read(store.start('run', 1, 10, env=tolerant)[1])
    facts.run_began()
    facts.read(store.start('drain', env=tolerant)[1])
    if whole:
        facts.check_nothing_lost()


@pytest.mark.parametrize('damage', [truncate, flip, overwrite, garble_header, make_foreign])
def test_it_starts(spools, folder, damage):
    for seed in range(scaled(12, 2000)):
        rng = random.Random(f'{damage.__name__} {seed}')
        store = Store(folder)
        shutil.copytree(rng.choice(spools), store.root, dirs_exist_ok=True)
        files = [path for path in sorted((store.root / 'spool').iterdir())
                 if path.name.startswith('spool.db') and not path.name.endswith('-shm') and path.stat().st_size > 0]
        victim = rng.choice(files)
        victim.write_bytes(damage(rng, victim.read_bytes()))
        attempt(f'{damage.__name__} {seed}, {victim.name}', check, store)


def test_another_database(folder):
    """It is set aside as it is."""
    store = Store(folder)
    (store.root / 'spool').mkdir()
    path = store.root / 'spool/spool.db'
    db = sqlite3.connect(path)
    db.execute('CREATE TABLE mine (n)')
    db.commit()
    db.close()
    before = path.read_bytes()
    check(store)
    assert [other.read_bytes() for other in path.parent.iterdir() if '.damaged-' in other.name] == [before]
