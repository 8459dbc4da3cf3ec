# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd with a spool through kill -9, cuts of the power and a full disk, with
producers at work: every event whose Put was answered is delivered, under one id,
twice only where a kill came between the delivery and its record, and the ledger
balances. disk.py is the disk; a failure names its seed.
EVBUS_TEST_LONG=1: many more of each."""

import random

import pytest
from gi.repository import GLib

import disk
from evbus_service import CallError, ERROR, wait_for
from killed_service import KilledService
from producers import Producer
from spool_facts import Lost
from spool_store import attempt, scaled

CONFIG = '''
file: {{'*': {{path: {folder}/out.jsonl}}}}
sink: {{'*': {{mode: confirm}}}}
'''


class Service(KilledService):
    def configuration(self):
        return CONFIG.format(folder=self.folder)

    def finish(self):
        """A life without faults that delivers the rest, and the verdict."""
        client = self.bus.client()
        daemon = self.begin()
        wait_for(client.owner, 'evbusd to be on the bus')
        routes = client.wait_running(2)
        ledger = client.wait_ledger(queued=0)
        routes = {route['provider']: route['ledger'] for route in client.routes()}
        daemon.stop()
        delivered = self.check()
        for route in routes.values():
            if route['accepted'] < len(delivered):
                raise Lost(f'the spool knows {route["accepted"]} events of {len(delivered)}')
            assert route['accepted'] == route['delivered'] == len(delivered), (routes, len(delivered))
        assert ledger['accepted'] == 2 * len(delivered), ledger


@pytest.fixture
def service(folder, evbusd, bus):
    return Service(folder, evbusd, bus)


def test_killed_at_each_operation(service):
    """Before each write, sync, create, rename and unlink in turn, and in the midst of each
    write: of a new spool up to its first commits (it is on the bus after some forty operations),
    and then of one that was killed before."""
    for number in range(1, 1 + scaled(60, 400)):
        service.reset()
        service.live(fault=f'kill@{number}')
        attempt(f'kill@{number} of a new spool', service.finish)
    for number in range(1, 1 + scaled(50, 400)):
        service.live(fault=f'kill@{number}')
    for number in range(1, 1 + scaled(25, 200)):
        service.live(fault=f'torn@{number}:write')
    attempt('of one that was killed before', service.finish)


def test_killed_with_producers(service):
    rng = random.Random(1)
    for _ in range(scaled(200, 5000)):
        service.live(fault=f'{rng.choice(("kill", "kill", "torn"))}@{rng.randrange(1, 60)}')
    assert service.answered
    attempt('seed 1', service.finish)


def cut(service, rng, **settings):
    """One life; at its end the power is cut."""
    base = disk.snapshot(service.root)
    service.log.unlink(missing_ok=True)
    service.live(fault=f'kill@{rng.randrange(1, 60)}', log=service.log, **settings)
    disk.Disk(disk.read_log(service.log), base).replay().image(rng.randrange(1 << 31), service.root)


def test_the_power_is_cut_with_producers(service):
    rng = random.Random(2)
    for _ in range(scaled(50, 1000)):
        cut(service, rng)
    assert service.answered
    attempt('seed 2', service.finish)


def test_a_full_disk(service, folder, client):
    """Puts are refused and those events are never delivered; what was answered is; once
    there is space it takes events again by itself."""
    switch = folder / 'full'
    switch.touch()
    daemon = service.begin(fault='enospc@300', switch=switch)
    wait_for(client.owner, 'evbusd to be on the bus')
    client.wait_running(2)
    refused = []

    def put():
        number = next(Producer.numbers)
        try:
            service.answered[client.put('k', GLib.Variant('t', number))] = number
            return True
        except CallError as error:
            assert error.name == ERROR + 'SpoolFull', error
            refused.append(number)
            return False

    while put():
        pass
    # Delivery goes on.
    client.wait_ledger(queued=0)
    switch.unlink()
    wait_for(put, 'a put to be taken again')
    client.wait_ledger(queued=0)
    daemon.stop()
    assert not {event['body'] for _life, event in service.read()} & set(refused)
    service.finish()


# ---- A test of the tests: a promise broken on purpose is found. More of them are in test_evbusd_lives.py


def test_cuts_find_a_missing_sync(service):
    rng = random.Random(3)
    for _ in range(50):
        cut(service, rng, sync=False)
    with pytest.raises(Lost):
        service.finish()
