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
PUTS = 20              # that are answered between two reloads, at least

# What stays as it is, what is opened anew each time, what comes and goes, and what is
# always behind. Each has a file of its own, or is asked for its figures.
KEPT = "- '*': {path: FOLDER/kept, delivery: {name: kept}}\n"
CHANGED = "- '*': {path: FOLDER/changed, keep: %d, delivery: {name: changed}}\n"
GUEST = "- '*': {path: FOLDER/guest, delivery: {name: guest}}\n"
BEHIND = "sink:\n- '*': {mode: fail-first, count: 1, delay_ms: %d, delivery: {name: behind, retry: {min: 1ms, max: 10ms}}}\n"
FILES = ('kept', 'changed', 'guest')

BAD = {
    'syntax': 'file: [',
    'unknown option': KEPT.replace('path', 'paht'),
    'a name twice': KEPT + KEPT,
    'out of range': CHANGED % 0,
    'no file': None,
}


def configuration(number, guest, delay=5):
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


def check_file(service, name, producers, everything):
    """What was put while the route was there: once each, in the order of each producer."""
    events = read_events(service.folder / name)
    ids = [event['id'] for event in events]
    numbers = [event['body'] for event in events]
    assert len(set(ids)) == len(ids), f'{name}: {len(ids) - len(set(ids))} events came twice'
    put = [set(producer.answered.values()) for producer in producers]
    for mine in put:
        order = [number for number in numbers if number in mine]
        assert order == sorted(order), f'{name} is out of order'
    if everything:
        assert set(numbers) == set().union(*put), f'{name} is not all that was put'
    return len(events)


def test_a_hundred_reloads_under_load(service, client, bus):
    rng = random.Random(5)
    producers = [Producer(bus.client(), {}) for _ in range(PRODUCERS)]
    refused = 0
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
    assert refused > 10
    load(producers)
    assert not any([producer.finish() for producer in producers])

    service.reload(configuration(0, guest=True, delay=0))
    client.wait_ledger(queued=0)
    n = count(producers)
    routes = [assert_balanced(route['ledger']) for route in client.routes()]
    assert len(routes) == 4
    for name, ledger in zip(FILES, routes[:3], strict=True):
        assert ledger['accepted'] == ledger['delivered'] == check_file(service, name, producers, name != 'guest')
    kept, changed, guest, behind = (ledger['delivered'] for ledger in routes)
    assert kept == changed == behind == n and 0 < guest < n
