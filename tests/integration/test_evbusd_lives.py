# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd over lives that end by kill -9 at any moment, or at an operation of its disk, with
routes whose position is not all there is to keep: one has dead letters, one has failures that
are tried again later, one is always behind and is reloaded under load. Every event whose Put
was answered is delivered by each route or a dead letter of it, once in a life at most. Those
that keep their order repeat a part of the end alone; and no route repeats what it had settled
before a put began that was answered, since that commit has it.
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
- '*': {{poison_key: bad, record: {folder}/poisons-{life}, delivery: {{name: poisons, batch: 16}}}}
- '*': {{flaky: 7, record: {folder}/flaky-{life}, delivery: {{name: flaky, batch: 16, retry: {{min: 1ms, max: 5ms}}}}}}
- '*': {{record: {folder}/behind-{life}, delay_ms: {delay},
         delivery: {{name: behind, batch: 4, window: {{events: 8}}}}}}
'''
RECORDED = ('poisons', 'flaky', 'behind')
BATCH = 16             # events that are recorded and may not be settled yet, at most
DEADLINE = 120         # s, for the backlog of all lives


class MixedProducer(Producer):
    def start(self, number):
        return self.client.start('Put', '(svs)', 'k' if number % 9 else 'bad', GLib.Variant('t', number), '')


def kill_after(daemon, delay):
    if delay is not None:
        GLib.timeout_add(delay, daemon.process.kill)


class Service(KilledService):
    producer = MixedProducer

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.delay = 5
        self.early = None              # ms from the start of the process to a kill
        self.killed_after = None       # the same from the first answer of a put
        self.reload = []               # the answer of the one under way
        self.n_reloads = 0
        self.looked = None             # (number, {route: how many events it had settled before that was put})
        self.settled = {}              # of this life the newest of these whose number was answered
        self.kept = {name: [] for name in RECORDED}    # of each life ids that are not to come again

    def configuration(self):
        return CONFIG.format(folder=self.folder, life=len(self.lives), delay=self.delay)

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
        self.look()
        if self.reload and not self.reload[-1]:
            return
        self.check_reload()
        self.delay = 1 + self.delay % 7
        daemon.config.write_text(self.configuration())
        self.reload.append(client.start('Reload', '()', interface=MANAGER))

    def look(self):
        """What is recorded but for a batch is settled."""
        if self.looked and not next(reversed(self.answered.values()), -1) > self.looked[0]:
            return
        if self.looked:
            self.settled = self.looked[1]
        life = self.recorded()
        self.looked = (next(Producer.numbers), {name: max(0, len(life[name]) - BATCH) for name in RECORDED})

    def check_reload(self):
        for answer in self.reload:
            # The others are of the bus: the one who should answer was killed.
            assert not answer or not isinstance(answer[0], CallError) or ERROR not in answer[0].name, answer
            self.n_reloads += bool(answer) and not isinstance(answer[0], CallError)
        self.reload.clear()

    def ended(self):
        self.check_reload()
        life = self.recorded()
        for name in RECORDED:
            self.kept[name].append(life[name][:self.settled.get(name, 0)])
        self.looked, self.settled = None, {}
        super().ended()

    def recorded(self, life=None):
        """{route: ids} of that life, or of this one."""
        paths = {name: self.folder / f'{name}-{len(self.lives) if life is None else life}' for name in RECORDED}
        return {name: path.read_text().splitlines() if path.exists() else [] for name, path in paths.items()}

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
            lives = [self.recorded(life)[name] for life in range(len(self.lives) + 1)]
            check_repeats(name, lives, self.kept[name])
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


def check_repeats(name, lives, kept):
    seen = set()
    for number, life in enumerate(lives):
        again = seen.intersection(life)
        assert not again, f'{name}: life {number} repeats {len(again)} events that were settled and stored'
        seen.update(kept[number] if number < len(kept) else [])


@pytest.fixture
def service(folder, evbusd, bus):
    return Service(folder, evbusd, bus)


def test_killed_at_any_moment(service):
    rng = random.Random(4)
    for _ in range(scaled(60, 2000)):
        service.live_for(rng)
    assert service.answered and service.n_reloads and all(map(any, service.kept.values()))
    attempt('seed 4', service.finish)


# ---- A test of the tests: a promise broken on purpose is found


@pytest.mark.parametrize('mutant', ['answer-first', 'settle-first'])
def test_kills_find(service, mutant):
    """In the broker itself; see ../support/mutants."""
    service.mutant = mutant
    rng = random.Random(5)
    for _ in range(10):
        service.killed_after = rng.randrange(20, 300)
        service.live()
    service.mutant = None
    with pytest.raises(Lost):
        service.finish()
