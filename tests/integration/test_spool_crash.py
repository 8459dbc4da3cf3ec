# SPDX-License-Identifier: LGPL-2.1-or-later
"""The spool's promise through kill -9, cuts of the power, I/O errors and a full
disk: every event whose put was answered is delivered or a dead letter, what a
route has settled it never sees again, and the ledgers balance.

../support/spool/spool-driver.c works on the spool and says what it has promised
(spool_store.py, spool_facts.py); disk.py is the disk. A failure names its seed and its fault.
EVBUS_TEST_LONG=1: many more of each."""

import random
import signal

import pytest

import disk
from spool_facts import Lost
from spool_store import Store, attempt, sample, scaled


@pytest.fixture
def store(folder):
    return Store(folder)


def case(seed, what):
    """Named in a failure, to be seen again."""
    return f'seed {seed}, {what}'


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
        fault = rng.choice(('kill', 'torn')) + f'@{rng.randrange(1, 45)}'
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
        attempt(where, store.run, seed, 10, status=(0, -signal.SIGKILL), log=store.log, fault=f'kill@{rng.randrange(1, 70)}')
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
    # Of those near the end nothing is refused any more.
    for number in {1, *sample(random.Random(seed), total - first, scaled(20, total))}:
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
    # Later on there is more to lose.
    for record in sorted(rng.choices(range(len(mine.records) // 2, len(mine.records)), k=500)):
        try:
            store.cut(mine, record, rng.randrange(1 << 31))
        except Lost:
            return
        except AssertionError:
            pass      # a file that is damaged: found as well, but not the promise
    raise AssertionError('not found')
