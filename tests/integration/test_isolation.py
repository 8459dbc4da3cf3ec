# SPDX-License-Identifier: LGPL-2.1-or-later
"""No route holds up another: beside one whose sink is dead, one that takes an event a
second and one that never returns, a healthy one is as fast as alone, memory stays flat
over a million events, and reload and stop return in time. What could not be delivered
is still there."""

import os
import pathlib
import re
import signal
import statistics
import time

import pytest
from gi.repository import GLib

from evbus_service import BROKER, MANAGER, NAME, PATH, Bus, assert_balanced, iterate_until, sanitized, wait_for

SANITIZED = sanitized()
MANY = 500                                        # events of a call
IN_FLIGHT = 8                                     # calls
BURST, ROUNDS = (5000, 10) if SANITIZED else (50000, 20)
PATIENCE = 120                                    # s, for a burst
FLAT = 4                                          # MiB
STOP_TIMEOUT = 2                                  # s
IN_TIME = STOP_TIMEOUT + 8                        # s

HEALTHY = f'''
evbus: {{stop_timeout: {STOP_TIMEOUT}s}}
file: {{'*': {{path: %s}}}}
'''
SLOW = '''
- '*': {mode: confirm, delay_ms: 1000, delivery: {name: slow, batch: 1}}
'''
STUCK = '''
- '*': {mode: hang, delivery: {name: stuck, timeout: 100ms}}
'''
DEAD = '''
- '*': {mode: transient, delivery: {name: dead}}
'''
# What the tests ask of malloc elsewhere is not flat.
PLAIN = {'MALLOC_CHECK_': '0', 'G_DEBUG': ''}


class Service:
    """An evbusd on a bus of its own, with a file route and others."""

    def __init__(self, evbusd, folder, environment, others=''):
        folder.mkdir()
        self.path = folder / 'events.jsonl'
        self.spool = folder / 'spool'
        self.bus = Bus(folder / 'bus', environment)
        self.evbusd = evbusd
        self.n = 0
        self.start(others)

    def start(self, others):
        self.daemon = self.evbusd(HEALTHY % self.path + others, env=PLAIN, start=False,
                                  arguments=['--address', self.bus.address, '--spool', str(self.spool)])
        self.daemon.bus = self.bus
        self.daemon.start()
        self.client = self.bus.client()

    def put(self, calls):
        """All of them, a few at a time; until they are answered."""
        waiting, answers = list(reversed(calls)), []

        def done(connection, result):
            answers.append(connection.call_finish(result))
            start()

        def start():
            if waiting:
                self.client.connection.call(NAME, PATH, BROKER, 'PutMany', waiting.pop(), None, 0, PATIENCE * 1000,
                                            None, done)

        for _ in range(IN_FLIGHT):
            start()
        iterate_until(lambda: len(answers) == len(calls), 'the answers', PATIENCE)

    def ledgers(self):
        """In the order of the configuration, and then the orphans."""
        return [assert_balanced(route['ledger']) for route in self.client.routes()]

    def burst(self, calls):
        """How many events a second, up to the last one's delivery; each is there, in order."""
        n = len(calls) * MANY
        self.n += n
        start = time.monotonic()
        self.put(calls)
        wait_for(lambda: self.ledgers()[0]['delivered'] == self.n, 'delivery', PATIENCE)
        rate = n / (time.monotonic() - start)
        assert re.findall(rb'"body":(\d+)', self.path.read_bytes()) == [b'%d' % i for i in range(n)]
        os.truncate(self.path, 0)
        return rate

    def memory(self):
        """Resident, in MiB."""
        text = pathlib.Path(f'/proc/{self.daemon.process.pid}/status').read_text()
        return int(re.search(r'^VmRSS:\s+(\d+)', text, re.M).group(1)) / 1024


@pytest.fixture
def service(evbusd, folder, environment):
    services = []

    def make(name, others=''):
        services.append(Service(evbusd, folder / name, environment, others))
        return services[-1]

    yield make
    for service in services:
        service.daemon.stop()
        service.bus.stop()


def test_a_healthy_route_among_others(service):
    calls = [GLib.Variant('(a(svs))', ([('k', GLib.Variant('i', i), '') for i in range(first, first + MANY)],))
             for first in range(0, BURST, MANY)]
    alone, among = service('alone'), service('among', 'sink:' + SLOW + STUCK + DEAD)
    ratios, memory = [], []
    # Each pair back to back, for the machine is never the same for long; in turn each is the first.
    for number in range(ROUNDS):
        rates = {service: service.burst(calls) for service in ((alone, among) if number % 2 else (among, alone))}
        ratios.append(rates[among] / rates[alone])
        memory.append(among.memory())
    print(f'{statistics.median(ratios):.2f} times as fast as alone, {memory[ROUNDS // 5]:.1f} to {memory[-1]:.1f} MiB')
    assert statistics.median(ratios) >= 0.9, sorted(ratios)
    # At first the windows are filled.
    assert SANITIZED or max(memory) <= memory[ROUNDS // 5] + FLAT, memory

    wait_for(lambda: among.client.routes()[2]['state'] == 'stuck', 'the route to be stuck')
    check_reload(among, calls)
    check_stop(among, 'sink:' + SLOW + STUCK)


def check_reload(service, calls):
    """Without the dead route, and with another one in the place of the stuck one."""
    service.daemon.config.write_text(HEALTHY % service.path + 'sink:' + SLOW + STUCK.replace('100ms', '110ms'))
    start = time.monotonic()
    service.client.call('Reload', interface=MANAGER)
    wait_for(lambda: service.client.routes()[2]['state'] == 'running', 'the new route', IN_TIME)
    took = time.monotonic() - start
    print(f'reload took {took:.3f} s')
    assert took < IN_TIME
    service.burst(calls[:len(calls) // 2])


def check_stop(service, others):
    file, slow, stuck, dead = service.ledgers()
    assert file == {**file, 'accepted': service.n, 'delivered': service.n}
    assert slow['accepted'] == stuck['queued'] == service.n and 0 < slow['delivered'] < service.n
    assert dead['queued'] == dead['accepted'] == service.n - BURST // 2
    start = time.monotonic()
    service.daemon.signal(signal.SIGTERM)
    assert service.daemon.wait() == 0
    took = time.monotonic() - start
    print(f'stop took {took:.3f} s')
    assert took < IN_TIME
    service.start(others)
    again = service.ledgers()
    assert [ledger['accepted'] for ledger in again] == [service.n] * 3 + [dead['accepted']]
    assert [again[0], again[2], again[3]] == [file, stuck, dead] and again[1]['delivered'] >= slow['delivered']
