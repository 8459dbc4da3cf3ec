# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd while the time of day jumps back and forth by a day, in one life, over a kill and
over a boot: order, retries and ages stay sane. clock.py is the clock."""

import signal
import time

import pytest
from gi.repository import GLib

from clock import DAY, HOUR, MINUTE, Clock
from evbus_service import MANAGER, assert_balanced, program, read_events, wait_for

OLD = 2                       # s: what the route `old` takes for too old
CONFIG = '''
evbus: {stop_timeout: 100ms}
file: {'*': {path: %s}}
sink:
- '*': {mode: fail-first, count: 9, delivery: {name: retries, retry: {min: 20ms, max: 200ms}}}
- '*': {mode: transient, delivery: {name: young, max_age: %s, batch: 1, retry: {min: 100ms, max: 100ms}}}
- '*': {mode: transient, delivery: {name: old, max_age: 2s, retry: {min: 100ms, max: 100ms}}}
'''
ROUTES = ('file', 'retries', 'young', 'old')


class Service:
    def __init__(self, folder, evbusd, client):
        self.folder = folder
        self.client = client
        self.evbusd = evbusd
        self.clock = Clock(folder, program('evbusd'))
        self.path = folder / 'events.jsonl'
        self.n = 0
        self.first = None          # monotonic: before the first put

    def start(self, young='1h'):
        self.daemon = self.evbusd(CONFIG % (self.path, young), arguments=['--session', '--spool', str(self.folder / 'spool')],
                                  env=self.clock.environment())

    def put(self, n, meanwhile=None):
        """n events that are under way at once, in the order of their numbers."""
        self.first = self.first or time.monotonic()
        answers = [self.client.start('Put', '(svs)', 'k', GLib.Variant('i', self.n + i), '') for i in range(n)]
        if meanwhile:
            meanwhile()
        for answer in answers:
            self.client.finish(answer)
        self.n += n

    def kill(self):
        self.daemon.signal(signal.SIGKILL)
        assert self.daemon.wait() == -signal.SIGKILL
        wait_for(lambda: self.client.owner() is None, 'the name to be free')

    def ledgers(self):
        return dict(zip(ROUTES, [assert_balanced(route['ledger']) for route in self.client.routes()], strict=True))

    def wait_dead(self, n, off=0):
        """Until so many of the route `old` have died, and not before they are old, though
        for `off` seconds there was no power."""
        wait_for(lambda: self.ledgers()['old']['dead'] > 0, 'an event to grow too old')
        assert time.monotonic() >= self.first + OLD - off
        wait_for(lambda: self.ledgers()['old']['dead'] == n, 'the events to grow too old')

    def wait_letters(self, n):
        def letters():
            letters = self.client.call('ListDead', '(sxu)', '', 0, 1000, interface=MANAGER)[0]
            return len(letters) >= n and letters

        letters = wait_for(letters, f'{n} dead letters')
        assert len(letters) == n
        return letters

    def check(self):
        """In order, each once; `young` has them all still."""
        wait_for(lambda: self.ledgers()['file']['delivered'] == self.n, 'delivery')
        wait_for(lambda: self.ledgers()['retries']['delivered'] == self.n, 'delivery after the retries')
        events = read_events(self.path)
        assert [event['body'] for event in events] == list(range(self.n))
        assert len({event['id'] for event in events}) == self.n
        assert self.ledgers()['young']['queued'] == self.n


@pytest.fixture
def service(folder, evbusd, client):
    return Service(folder, evbusd, client)


def test_jumps(service):
    """Also while puts are under way."""
    service.start()
    for turn, jump in enumerate([DAY, -DAY, -DAY, DAY, 30 * DAY, -60 * DAY, 30 * DAY, -DAY, DAY, DAY]):
        service.put(20, lambda: service.clock.jump(jump))
        service.put(5)
    service.wait_dead(service.n)
    service.check()
    # A try in 50 ms, on average; how busy the machine is makes it less alone.
    retried, took = service.ledgers()['young']['retried'], time.monotonic() - service.first
    assert 1 <= retried <= 10 + 100 * took, (retried, took)
    numbers = [letter[0] for letter in service.wait_letters(service.n)]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize('jump', [DAY, -DAY], ids=['on', 'back'])
def test_a_jump_between_two_lives(service, jump):
    service.start()
    service.put(20)
    service.kill()
    service.clock.jump(jump)
    service.start()
    service.put(20)
    service.wait_dead(service.n)
    check_after_a_kill(service)


def check_after_a_kill(service):
    """As check(), but what was delivered may have come once more."""
    wait_for(lambda: service.ledgers()['file']['queued'] == service.ledgers()['retries']['queued'] == 0, 'delivery')
    seen = []
    for event in read_events(service.path):
        if event['body'] not in seen:
            seen.append(event['body'])
    assert seen == list(range(service.n))
    assert service.ledgers()['young']['queued'] == service.n


def test_a_machine_that_slept(service):
    """That is time too."""
    service.start()
    service.put(20)
    service.clock.suspend(2 * HOUR)
    wait_for(lambda: service.ledgers()['young']['dead'] == 20, 'the events to grow too old')


@pytest.mark.parametrize('off', [-DAY, 30 * MINUTE, 30 * DAY], ids=['back', 'on', 'far'])
def test_another_boot(service, off):
    """How long it was off the time of day says; not below nothing, and not above a day."""
    service.start('25h')
    service.put(20)
    service.kill()
    service.clock.reboot(off)
    service.start('25h')
    service.put(20)
    service.wait_dead(service.n, max(off, 0))
    check_after_a_kill(service)


def test_another_boot_much_later(service):
    service.start()
    service.put(20)
    service.kill()
    service.clock.reboot(2 * HOUR)
    service.start()
    letters = service.wait_letters(40)
    assert all('max_age' in letter[3] for letter in letters)
    assert service.ledgers()['young']['dead'] == service.ledgers()['old']['dead'] == 20


def test_a_clock_that_nobody_has_set(service):
    """A machine without one begins in 1970, until it hears what time it is."""
    true = service.clock.of_day
    service.clock.jump(-int(time.time()) + MINUTE)
    service.start('25h')
    service.put(20)
    service.kill()
    service.clock.reboot(0)
    service.start('25h')
    service.put(20)
    service.clock.jump(true - service.clock.of_day)
    service.kill()
    service.clock.reboot(MINUTE)
    service.start('25h')
    service.put(20)
    service.wait_dead(service.n, DAY)
    check_after_a_kill(service)
