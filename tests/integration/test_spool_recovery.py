# SPDX-License-Identifier: LGPL-2.1-or-later
"""A recovery that is cut short: killed before each of its writes, syncs, renames and unlinks,
and by cuts of the power. The database that is recovered is one that was only said to be
damaged, so that all of it can be read and nothing of it may be lost."""

import random
import shutil
import signal

import pytest

import disk
from spool_facts import Facts
from spool_store import Store, attempt, sample, scaled


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


def numbers_of(records, kinds):
    """How EVBUS_DISK_FAULT counts the operations of these kinds."""
    operations = [record.kind for record in records if record.kind in disk.OPERATIONS]
    return [number for number, kind in enumerate(operations, 1) if kind in kinds]


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
    """At each change of a name and each sync of the folder; at some of the many others."""
    records, _base = recovery(store)
    rng = random.Random(21)
    writes, others = numbers_of(records, 'wtb'), numbers_of(records, 'curmB')
    cases = [('kill', number) for number in others + sorted(rng.sample(writes, scaled(25, len(writes))))]
    cases += [('torn', number) for number in sorted(rng.sample(writes, scaled(15, len(writes))))]
    notes = []
    for fault, number in cases:
        store.begin()
        _status, text = store.start('drain', fault=f'{fault}@{number}', status=(-signal.SIGKILL,))
        store.facts.read(text)
        notes.append(attempt(f'{fault}@{number}', check, store))
    # Some had the new database ready, and only its name was missing.
    assert any('interrupted' in note for note in notes) and any('events and' in note for note in notes)


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
