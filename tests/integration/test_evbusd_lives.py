# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd over lives that end by kill -9 at any moment, or at an operation of its disk, with
routes whose position is not all there is to keep: one has dead letters, one has failures that
are tried again later, one is always behind and is reloaded under load. Every event whose Put
was answered is delivered by each route or a dead letter of it, once in a life at most, and
again only what no later event of the route had overtaken.
EVBUS_TEST_LONG=1: many more lives."""

import random

import pytest
from gi.repository import GLib

from evbus_service import ERROR, MANAGER, CallError, assert_balanced, wait_for
from killed_service import KilledService
from producers import Producer
from spool_facts import Lost
from spool_store import attempt, scaled

CONFIG = '''
file:
- '*': {{path: {folder}/out.jsonl}}
sink:
- '*': {{poison_key: bad, record: {folder}/poisons-{life}, record_late: {late}, delivery: {{name: poisons}}}}
- '*': {{flaky: 7, record: {folder}/flaky-{life}, delivery: {{name: flaky, retry: {{min: 1ms, max: 5ms}}}}}}
- '*': {{record: {folder}/behind-{life}, delay_ms: {delay},
         delivery: {{name: behind, batch: 4, window: {{events: 8}}}}}}
'''
RECORDED = ('poisons', 'flaky', 'behind')
DEADLINE = 120         # s, for the backlog of all lives


class MixedProducer(Producer):
    def start(self, number):
        return self.client.start('Put', '(svs)', 'k' if number % 9 else 'bad', GLib.Variant('t', number), '')


class HastyProducer(Producer):
    """Takes an event for stored that is only accepted."""

    def start(self, number):
        return self.client.start('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('t', number), '',
                                 {'wait': GLib.Variant('s', 'accepted')})


def kill_after(daemon, delay):
    if delay is not None:
        GLib.timeout_add(delay, daemon.process.kill)


class Service(KilledService):
    producer = MixedProducer

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.delay = 5
        self.late = 'false'
        self.early = None              # ms from the start of the process to a kill
        self.killed_after = None       # the same from the first answer of a put
        self.reload = []               # the answer of the one under way
        self.n_reloads = 0

    def configuration(self):
        return CONFIG.format(folder=self.folder, life=len(self.lives), delay=self.delay,
                             late=self.late)

    def live_for(self, rng):
        kind = rng.choice(('early', 'timer', 'timer', 'disk'))
        self.early = rng.randrange(150) if kind == 'early' else None
        self.killed_after = rng.randrange(400) if kind == 'timer' else None
        self.delay = rng.randrange(1, 8)
        self.live(**({'fault': f'{rng.choice(("kill", "torn"))}@{rng.randrange(1, 120)}'} if kind == 'disk' else {}))

    def begin(self, **settings):
        daemon = super().begin(**settings)
        self.early = kill_after(daemon, self.early)
        return daemon

    def meanwhile(self, daemon, client):
        self.killed_after = kill_after(daemon, self.killed_after)
        if self.reload and not self.reload[-1]:
            return
        self.check_reload()
        self.delay = 1 + self.delay % 7
        daemon.config.write_text(self.configuration())
        self.reload.append(client.start('Reload', '()', interface=MANAGER))

    def check_reload(self):
        for answer in self.reload:
            # The others are of the bus: the one who should answer was killed.
            assert not answer or not isinstance(answer[0], CallError) or ERROR not in answer[0].name, answer
            self.n_reloads += bool(answer) and not isinstance(answer[0], CallError)
        self.reload.clear()

    def ended(self):
        self.check_reload()
        super().ended()

    def recorded(self, name):
        """Of each life the ids."""
        paths = [self.folder / f'{name}-{life}' for life in range(len(self.lives) + 1)]
        return [path.read_text().splitlines() if path.exists() else [] for path in paths]

    def finish(self):
        """A life that delivers the rest, and the verdict."""
        self.delay = 0
        client = self.bus.client()
        daemon = self.begin()
        wait_for(client.owner, 'evbusd to be on the bus')
        client.wait_running(4)
        wait_for(lambda: client.ledger()['queued'] == 0, 'the rest to be delivered', DEADLINE)
        ledgers = {route['name'] if route['name'] in RECORDED else route['provider']: assert_balanced(route['ledger'])
                   for route in client.routes()}
        dead = [letter[4] for letter in list_dead(client)]
        daemon.stop()
        self.verdict(ledgers, dead)

    def verdict(self, ledgers, dead):
        order = [event_id for event_id in self.check()]          # those of out.jsonl, as they came first
        bad = {event['id'] for _life, event in self.read() if event['routing_key'] == 'bad'}
        assert len(set(dead)) == len(dead) and set(dead) == bad, (len(dead), len(set(dead)), len(bad))
        good = [event_id for event_id in order if event_id not in bad]
        for name in RECORDED:
            lives = self.recorded(name)
            expected = good if name == 'poisons' else order
            missing = set(expected) - {event_id for life in lives for event_id in life}
            if missing:
                raise Lost(f'{name}: {len(missing)} events, as {sorted(missing)[:3]}')
            for life in lives:
                assert len(set(life)) == len(life), f'{name}: an event came twice in one life'
            if name != 'flaky':
                attempt(name, check_order, lives, expected)
            assert ledgers[name]['accepted'] == len(order) and ledgers[name]['delivered'] == len(expected), \
                (name, ledgers[name], len(order), len(expected))
        assert ledgers['file']['accepted'] == ledgers['file']['delivered'] == len(order), (ledgers, len(order))


def list_dead(client):
    letters = []
    while page := client.call('ListDead', '(sxu)', 'poisons', letters[-1][0] if letters else 0, 4096, interface=MANAGER)[0]:
        letters += page
    return letters


def check_order(lives, expected):
    """Each life goes on where the last one was, or repeats a part of its end; without a gap."""
    place = {event_id: number for number, event_id in enumerate(expected)}
    reached = 0
    for life in lives:
        numbers = [place[event_id] for event_id in life]
        if numbers:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), 'out of order, or with a gap'
            assert numbers[0] <= reached, f'{numbers[0]} comes after {reached - 1}'
            reached = max(reached, numbers[-1] + 1)


@pytest.fixture
def service(folder, evbusd, bus):
    return Service(folder, evbusd, bus)


def test_killed_at_any_moment(service):
    rng = random.Random(4)
    for _ in range(scaled(60, 2000)):
        service.live_for(rng)
    assert service.answered and service.n_reloads
    attempt('seed 4', service.finish)


# ---- A test of the tests: a promise broken on purpose is found


def find(service, seed):
    rng = random.Random(seed)
    for _ in range(15):
        service.live(fault=f'kill@{rng.randrange(40, 120)}')
    with pytest.raises(Lost):
        service.finish()


def test_kills_find_an_answer_before_the_commit(service):
    service.producer = HastyProducer
    find(service, 5)


def test_kills_find_a_confirmation_before_the_delivery(service):
    """So that the position moves before the destination has the event."""
    service.late = 'true'
    find(service, 6)
