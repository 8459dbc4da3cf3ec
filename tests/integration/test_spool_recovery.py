# SPDX-License-Identifier: LGPL-2.1-or-later
"""A recovery that is cut short: killed before each of its writes, syncs, renames and unlinks,
and by cuts of the power. The database that is recovered is one that was only said to be
damaged, so that all of it can be read and nothing of it may be lost; or one that is damaged, of which
nothing may be lost that a recovery without a kill takes over."""

import random
import shutil
import signal
import sqlite3

import pytest

import disk
from damages import PAGE
from spool_facts import Facts
from spool_store import Store, attempt, faults_of, sample, scaled


@pytest.fixture(scope='module')
def marked(tmp_path_factory):
    """A spool that a kill has left, with the mark of a damage; and what the driver said of it."""
    store = Store(tmp_path_factory.mktemp('spool'))
    _status, text = store.start('run', 21, 40, env={'SPOOL_DRIVER_KILL': '1'}, status=(-signal.SIGKILL,))
    (store.root / 'spool/damaged').touch(mode=0o600)
    return store.root, text


@pytest.fixture
def store(folder, marked):
    store = Store(folder)

    def begin():
        shutil.rmtree(store.root)
        shutil.copytree(marked[0], store.root)
        store.facts = Facts().read(marked[1])
        store.facts.run_began()

    store.begin = begin
    begin()
    return store


def recovery(store):
    """The log of a start, up to the last change of names in its recovery; and the base of it."""
    base = disk.snapshot(store.root)
    store.start('drain', log=store.log)
    records = disk.read_log(store.log)
    end = max(index for index, record in enumerate(records) if record.kind == 'u' and record.path == 'spool/damaged')
    names = [record.path.split('\0')[1] for record in records[:end] if record.kind == 'r']
    assert {'spool/spool.db.new', 'spool/spool.db'} < set(names), names
    return records[:end + 1], base


def numbered(records):
    """[(number, kind)] as EVBUS_DISK_FAULT counts them."""
    return list(enumerate((record.kind for record in records if record.kind in disk.OPERATIONS), 1))


def check(store, facts=None, root=None):
    """The next start is a sound one, and nothing is lost; what it found: see Facts.conditions."""
    facts = facts or store.facts
    facts.run_began()
    facts.conditions.clear()
    facts.read(store.start('drain', root=root)[1])
    condition, note = facts.conditions.pop()
    assert condition in ('recovered', 'intact'), condition
    facts.check()
    return note


def test_it_is_recovered(store):
    assert 'events and' in check(store)


def test_killed_at_each_operation(store):
    records, _base = recovery(store)
    notes = []
    for fault in faults_of(numbered(records), kills=150):
        store.begin()
        _status, text = store.start('drain', fault=fault, status=(-signal.SIGKILL,))
        store.facts.read(text)
        notes.append(attempt(fault, check, store))
    # Some had the new database ready, and only its name was missing.
    assert any('interrupted' in note for note in notes) and any('events and' in note for note in notes)


def test_killed_at_the_operations_of_a_damaged_one(store):
    # What is in the log goes into the database, and a page of it to pieces.
    path = store.root / 'spool/spool.db'
    db = sqlite3.connect(path)
    n_events = len(db.execute('SELECT * FROM event').fetchall())
    db.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // PAGE * PAGE
    content[middle:middle + PAGE] = bytes(PAGE)
    damaged = store.folder / 'damaged'
    shutil.copytree(store.root, damaged)
    (damaged / 'spool/spool.db').write_bytes(content)

    def begin():
        store.reset()
        shutil.copytree(damaged, store.root, dirs_exist_ok=True)

    begin()
    store.start('open', log=store.log)
    expected = store.dump()
    assert 0 < len(expected['event']) < n_events
    killed, faults = 0, faults_of(numbered(disk.read_log(store.log)), kills=40)
    for fault in faults:
        begin()
        killed += store.start('open', fault=fault, status=(0, -signal.SIGKILL))[0] != 0
        store.facts.read(store.start('open')[1])
        assert store.facts.conditions[-1][0] in ('recovered', 'intact'), (fault, store.facts.conditions)
        assert store.dump() == expected, fault
    assert killed > len(faults) * 0.9, (killed, len(faults))


def test_the_power_is_cut(store):
    records, base = recovery(store)
    mine = disk.Disk(records, base)
    rng = random.Random(22)
    for record in sample(rng, len(records), scaled(40, len(records))):
        image = rng.randrange(1 << 31)
        mine.replay(record)
        mine.image(image, store.folder / 'image')
        store.begin()
        facts = store.facts.read(b''.join(mine.answers).decode())
        attempt(f'cut at record {record} with {image}', check, store, facts, store.folder / 'image')
