# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hundred reloads of evbusd under load, with good files and bad ones: no put fails,
nothing is lost, nothing comes twice, the order is kept and the ledger balances."""

import os
import random
import re

import pytest
from gi.repository import GLib

from evbus_service import MANAGER, CallError, assert_balanced, read_events
from producers import Producer, work

RELOADS = 100
PRODUCERS = 3
FIRST = 600            # events, before the first reload: so one route is far behind at it, on any machine
PUTS = 20              # that are answered between two reloads, at least

# What stays as it is, what is opened anew each time, what comes and goes, and what is opened
# anew each time and always behind. Each has a file of its own.
KEPT = "- '*': {path: FOLDER/kept, delivery: {name: kept}}\n"
CHANGED = "- '*': {path: FOLDER/changed, keep: %d, delivery: {name: changed}}\n"
GUEST = "- '*': {path: FOLDER/guest, delivery: {name: guest}}\n"
BEHIND = """sink:
- '*': {mode: fail-first, count: 1, delay_ms: %d, record: FOLDER/behind,
        delivery: {name: behind, batch: 4, window: {events: 8}, retry: {min: 1ms, max: 10ms}}}
"""
FILES = ('kept', 'changed', 'guest')
WINDOW = 8             # of the route that is behind: what else it has is on the disk

BAD = {
    'syntax': 'file: [',
    'unknown option': KEPT.replace('path', 'paht'),
    'a name twice': KEPT + KEPT,
    'out of range': CHANGED % 0,
    'no file': None,
}


def configuration(number, guest, delay=None):
    delay = 40 + number % 5 if delay is None else delay
    return 'file:\n' + KEPT + CHANGED % (1 + number % 9000) + (GUEST if guest else '') + BEHIND % delay


def bad_configuration(rng):
    text = BAD[rng.choice(sorted(BAD))]
    return 'file:\n' + text if text and text.startswith('-') else text


class Service:
    def __init__(self, evbusd, client, folder):
        self.client = client
        self.folder = folder
        self.daemon = evbusd(self.text(configuration(0, False)), arguments=['--session', '--spool', str(folder / 'spool')])
        self.client.wait_running(3)

    def text(self, text):
        return text.replace('FOLDER', str(self.folder))

    def reload(self, text):
        """As an editor writes the file: under another name first."""
        if text is None:
            self.daemon.config.unlink(missing_ok=True)
        else:
            new = self.folder / 'new.yaml'
            new.write_text(self.text(text))
            os.replace(new, self.daemon.config)
        self.client.call('Reload', interface=MANAGER)

    def shape(self):
        return [(route['provider'], route['state'] == 'orphaned') for route in self.client.routes()]


@pytest.fixture
def service(evbusd, client, folder):
    return Service(evbusd, client, folder)


def count(producers):
    return sum(len(producer.answered) for producer in producers)


def load(producers):
    """Puts until enough of them were answered."""
    enough = count(producers) + PUTS
    while count(producers) < enough:
        assert not work(producers), 'a put has failed'


def check_ids(name, ids, producers):
    """Once each, in the order of each producer."""
    assert len(set(ids)) == len(ids), f'{name}: {len(ids) - len(set(ids))} events came twice'
    for producer in producers:
        numbers = [producer.answered[event_id] for event_id in ids if event_id in producer.answered]
        assert numbers == sorted(numbers), f'{name} is out of order'
    return ids


def ids_of(service, name):
    return [event['id'] for event in read_events(service.folder / name)]


def test_a_hundred_reloads_under_load(service, client, bus):
    rng = random.Random(5)
    producers = [Producer(bus.client(), {}) for _ in range(PRODUCERS)]
    first, = client.call('PutMany', '(a(svs))', [('k', GLib.Variant('b', True), '')] * FIRST)
    refused = furthest = 0
    for number in range(1, RELOADS + 1):
        load(producers)
        if rng.random() < 0.35:
            before = service.shape()
            with pytest.raises(CallError) as caught:
                service.reload(bad_configuration(rng))
            assert re.match(r'org\.evbus1\.Error\.', caught.value.name), caught.value
            assert service.shape() == before
            refused += 1
        else:
            service.reload(configuration(number, guest=rng.random() < 0.5))
        furthest = max(furthest, *(route['ledger']['queued'] for route in client.routes() if route['name'] == 'behind'))
    assert refused > 10 and furthest > 10 * WINDOW, (refused, furthest)
    load(producers)
    assert not any([producer.finish() for producer in producers])

    service.reload(configuration(0, guest=True, delay=0))
    client.wait_ledger(queued=0)
    n = FIRST + count(producers)
    routes = [assert_balanced(route['ledger']) for route in client.routes()]
    assert len(routes) == 4
    kept, changed, guest = (check_ids(name, ids_of(service, name), producers) for name in FILES)
    behind = (service.folder / 'behind').read_text().splitlines()
    put = set(first).union(*(producer.answered for producer in producers))
    assert set(kept) == put and len(put) == n
    guests = set(guest)
    # Each in the order in which they were accepted, however far behind it was.
    assert changed == kept and behind == kept, 'out of order, or not all'
    assert guest == [event_id for event_id in kept if event_id in guests] and 0 < len(guest) < n
    for ids, ledger in zip((kept, changed, guest, behind), routes, strict=True):
        assert ledger['accepted'] == ledger['delivered'] == len(ids)
