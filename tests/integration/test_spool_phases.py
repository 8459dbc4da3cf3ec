# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kills at what a run of the driver comes to seldom: a checkpoint, deletions and the return of
space, a route that is forgotten, an orphan that is named, an older format that is migrated. Before each
of its writes, syncs, truncations and changes of a name in turn, and in the midst of some writes, evenly
spread. With the sanitizer, at a fifth of them.
EVBUS_TEST_LONG=1: at all, however many a phase has."""

import pathlib
import shutil
import signal
import sqlite3

import pytest

import disk
from spool_facts import Facts
from spool_store import Store, attempt, faults_of

KILLED = {'env': {'SPOOL_DRIVER_KILL': '1'}, 'status': (-signal.SIGKILL,)}
FIXTURES = pathlib.Path(__file__).parent.parent / 'unit/spool-fixtures'

# How the spool comes to be, and in which state it is left.
BUSY, LARGE = (('run', 31, 14), KILLED), (('fill', 31, 160), {})
PHASES = {'checkpoint': BUSY, 'vacuum': LARGE, 'whole-vacuum': LARGE, 'forget': BUSY, 'name': BUSY}


def numbered(records):
    """[(number, kind)] as EVBUS_DISK_FAULT counts them, of the operations between "began" and "ended"."""
    found, n, inside = [], 0, False
    for record in records:
        if record.kind == 'a':
            inside = (inside or b'began\n' in record.data) and b'ended\n' not in record.data
        n += record.kind in disk.OPERATIONS
        if inside and record.kind in disk.OPERATIONS:
            found.append((n, record.kind))
    return found


def count_pages(root):
    db = sqlite3.connect(root / 'spool/spool.db')
    (count,) = db.execute('PRAGMA page_count').fetchone()
    db.close()
    return count


@pytest.mark.parametrize('phase', PHASES)
def test_killed_at_each_operation(folder, phase):
    store = Store(folder)
    arguments, how = PHASES[phase]
    _status, text = store.start(*arguments, **how)
    prepared = folder / 'prepared'
    store.root.rename(prepared)

    def begin():
        store.reset()
        shutil.copytree(prepared, store.root, dirs_exist_ok=True)
        store.facts = Facts().read(text)
        store.facts.run_began()

    begin()
    store.facts.read(store.start('phase', phase, log=store.log)[1])
    operations = numbered(disk.read_log(store.log))
    assert operations, 'nothing is written'
    if 'vacuum' in phase:
        # Up to FEW_PAGES of evbus-spool-space.c all are moved at once; else in steps, until enough went.
        few, before, pages = 1024, count_pages(prepared), count_pages(store.root)
        assert pages <= few if phase == 'whole-vacuum' else few < pages < before, (before, pages)
    store.drain()
    killed, faults = 0, faults_of(operations)
    for fault in faults:
        begin()
        status, said = store.start('phase', phase, fault=fault, status=(0, -signal.SIGKILL))
        killed += status != 0
        store.facts.read(said)
        attempt(f'{phase}, {fault}', store.drain)
    kinds = ''.join(kind for _number, kind in operations)
    print(f'{phase}: killed at {killed} of {len(faults)}, of {kinds}')
    # Another thread works on the files too, and not always as far.
    assert killed > len(faults) * 0.9


@pytest.mark.parametrize('version', [1, 2])
def test_a_migration_is_killed_at_each_operation(folder, version):
    """The next start leaves what a start without a kill does."""
    store = Store(folder)

    def begin():
        store.reset()
        (store.root / 'spool').mkdir(mode=0o700)
        shutil.copy(FIXTURES / f'format-{version}.db', store.root / 'spool/spool.db')

    begin()
    store.facts.read(store.start('open', log=store.log)[1])
    assert [condition for condition, _note in store.facts.conditions] == ['migrated']
    operations = [record.kind for record in disk.read_log(store.log) if record.kind in disk.OPERATIONS]
    expected = store.dump()
    killed, faults = 0, faults_of(list(enumerate(operations, 1)))
    for fault in faults:
        begin()
        killed += store.start('open', fault=fault, status=(0, -signal.SIGKILL))[0] != 0
        store.facts.read(store.start('open')[1])
        assert store.facts.conditions[-1][0] in ('migrated', 'intact'), (fault, store.facts.conditions)
        assert store.dump() == expected, fault
    assert killed > len(faults) * 0.9, (killed, len(faults))
