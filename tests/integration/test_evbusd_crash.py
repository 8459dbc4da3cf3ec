# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd with a spool through kill -9, cuts of the power and a full disk, with
producers at work: every event whose Put was answered is delivered, under one id,
twice only where a kill came between the delivery and its record, and the ledger
balances. disk.py is the disk; a failure names its seed.
EVBUS_TEST_LONG=1: many more of each."""

import json
import random

import pytest
from gi.repository import GLib

import disk
from evbus_service import CallError, ERROR, program, wait_for
from producers import Producer, work
from spool_store import scaled

CONFIG = '''
file: {{'*': {{path: {folder}/out.jsonl}}}}
sink: {{'*': {{mode: confirm}}}}
'''
PRODUCERS = 3


def whole_length(content):
    """Without a line that a kill has torn, which the next life cuts off."""
    end = content.rfind(b'\n') + 1
    try:
        json.loads(content[end:])
    except ValueError:
        return end
    return len(content)


class Service:
    """evbusd with a spool on a disk of the tests, over many lives."""

    def __init__(self, folder, evbusd, bus):
        self.folder = folder
        self.root = folder / 'disk'
        self.root.mkdir()
        self.log = folder / 'disk-log'
        self.out = folder / 'out.jsonl'
        self.evbusd = evbusd
        self.bus = bus
        self.answered = {}
        self.lives = []                # how long out.jsonl was at the end of each, without a torn line
        self.arguments = ['--session', '--spool', str(self.root / 'spool')]
        self.program = program('evbusd')

    def begin(self, **settings):
        env = disk.environment(self.root, self.program, **settings) if settings else None
        return self.evbusd(CONFIG.format(folder=self.folder), arguments=self.arguments, env=env, start=False).spawn()

    def live(self, **settings):
        """One life with producers, until it is killed, by itself."""
        daemon = self.begin(**settings)
        client = self.bus.client()
        wait_for(lambda: daemon.process.poll() is not None or client.owner(), 'evbusd to come or go')
        producers = [Producer(self.bus.client(), self.answered) for _ in range(PRODUCERS)]
        failed = False
        while not failed and daemon.process.poll() is None:
            failed = work(producers)
        daemon.wait()
        assert daemon.process.returncode == -9, daemon.log()
        wait_for(lambda: not client.owner(), 'the name to be free')
        for producer in producers:
            producer.finish()
        self.bus.close_clients()
        self.lives.append(whole_length(self.out.read_bytes() if self.out.exists() else b''))

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
            assert route['accepted'] == route['delivered'] == len(delivered), (routes, len(delivered))
        assert ledger['accepted'] == 2 * len(delivered), ledger

    def read(self):
        """[(life, event)] in the order of out.jsonl. A kill may cut off a line."""
        events, position, life = [], 0, 0
        for line in self.out.read_bytes().split(b'\n'):
            while life < len(self.lives) and position >= self.lives[life]:
                life += 1
            position += len(line) + 1
            try:
                events.append((life, json.loads(line)))
            except ValueError:
                pass
        return events

    def check(self):
        lives, ids = {}, {}
        for life, event in self.read():
            event_id, number = event['id'], event['body']
            assert ids.setdefault(number, event_id) == event_id, f'{number} is {ids[number]} and {event_id}'
            assert life not in lives.setdefault(event_id, []), f'{event_id} was delivered twice in one life'
            lives[event_id].append(life)
        lost = {event_id: number for event_id, number in self.answered.items() if ids.get(number) != event_id}
        assert not lost, f'{len(lost)} of {len(self.answered)} answered events are lost, as {sorted(lost.items())[:3]}'
        return lives


@pytest.fixture
def service(folder, evbusd, bus):
    return Service(folder, evbusd, bus)


def attempt(seed, function):
    try:
        function()
    except AssertionError as error:
        error.args = (f'seed {seed}: {error}',)
        raise


def test_killed_with_producers(service):
    rng = random.Random(1)
    for _ in range(scaled(200, 5000)):
        service.live(fault=f'{rng.choice(("kill", "kill", "torn"))}@{rng.randrange(1, 60)}')
    assert service.answered
    attempt(1, service.finish)


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
    attempt(2, service.finish)


def test_cuts_find_a_missing_sync(service):
    """A test of the test."""
    rng = random.Random(3)
    for _ in range(50):
        cut(service, rng, sync=False)
    with pytest.raises(AssertionError):
        service.finish()


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
