# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged spools: truncated, with flipped bits, overwritten, of another program.
Whatever it finds, it starts and never crashes, delivers no event that is not
whole (the driver checks each body), and is a sound spool again after few starts."""

import random
import shutil
import signal
import sqlite3

import pytest

from damages import DAMAGES, damage_one
from spool_facts import Facts
from spool_store import Store, attempt, scaled

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
    facts.check_balance()
    if whole:
        facts.check_nothing_lost()


@pytest.mark.parametrize('damage', DAMAGES)
def test_it_starts(spools, folder, damage):
    for seed in range(scaled(12, 2000)):
        rng = random.Random(f'{damage.__name__} {seed}')
        store = Store(folder)
        shutil.copytree(rng.choice(spools), store.root, dirs_exist_ok=True)
        victim = damage_one(rng, damage, store.root / 'spool')
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
