# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests for many events, one after another and several at once."""

import base64
import gzip
import json
import threading

import pytest
from gi.repository import GLib

from evbus_service import wait_for
from fake_http import page
from http_trial import fake, letters  # noqa: F401
from test_cloudevents import validator  # noqa: F401

BATCHES = {
    'json_lines': ('application/x-ndjson', lambda body: [json.loads(line) for line in body.split(b'\n')[:-1]]),
    'json_array': ('application/json', json.loads),
    'cloudevents': ('application/cloudevents-batch+json; charset=utf-8', lambda body: [e['data'] for e in json.loads(body)]),
}


@pytest.mark.parametrize('batch', BATCHES)
@pytest.mark.parametrize('compression', [False, True], ids=['plain', 'gzip'])
def test_batches(trial, fake, batch, compression):
    content_type, parse = BATCHES[batch]
    refused = []
    # The first one is refused for a while, and comes again as it was.
    server = fake(lambda request: page(204) if refused else refused.append(request) or page(503))
    trial.start({'url': server.url, 'batch': batch, **({'compression': 'gzip'} if compression else {})},
                delivery={'batch': {'events': 40, 'linger': '200ms'}})
    trial.put(100)
    ledger = trial.wait_delivered()
    assert (ledger['retried'], ledger['duplicates']) == (len(parse_all(server.requests[:1], parse, compression)), 0)
    assert parse_all(server.requests[1:], parse, compression) == [json.loads(data) for _, data in trial.sent]
    assert max(len(parse_all([request], parse, compression)) for request in server.requests) == 40
    assert {request.headers['content-type'] for request in server.requests} == {content_type}
    keys = [request.headers['idempotency-key'] for request in server.requests]
    assert keys[0] == keys[1] and len(set(keys)) == len(keys) - 1


def parse_all(requests, parse, compression):
    return [value for request in requests
            for value in parse(gzip.decompress(request.body) if compression else request.body)]


def test_what_is_not_json_in_a_batch(trial, fake):
    server = fake()
    trial.start({'url': server.url, 'batch': 'json_array'}, delivery={'batch': {'linger': '200ms'}})
    for data, content_type in ((b'{"a":\n1}', 'application/json'), (b'x', 'text/plain'), (b'2', 'application/json')):
        trial.put_bytes(data, content_type)
    trial.wait_ledger(accepted=3, delivered=2, dead=1, retried=0)
    assert [value for request in server.requests for value in json.loads(request.body)] == [{'a': 1}, 2]
    (reason,) = letters(trial, 1)
    assert "text/plain, and a batch holds JSON; 'batch: cloudevents' takes any" in reason


@pytest.mark.parametrize('batch', BATCHES)
def test_batches_of_cloudevents(trial, fake, validator, batch):
    server = fake()
    options = {'url': server.url, 'batch': batch}
    trial.start(options if batch == 'cloudevents' else {**options, 'cloudevents': 'structured'},
                delivery={'batch': {'events': 2, 'linger': '10s'}})
    trial.put(1)
    trial.put_bytes(b'a\nb', 'text/plain', subject='42', source='no URI')
    trial.wait_delivered()
    (request,) = server.requests
    assert request.headers['content-type'] == BATCHES[batch][0]
    events = [json.loads(line) for line in request.body.splitlines()] if batch == 'json_lines' else json.loads(request.body)
    for event, (event_id, _) in zip(events, trial.sent, strict=True):
        validator.validate(event)
        assert (event['id'], event['source']) == (event_id, '/evbus')
    assert events[0]['data'] == json.loads(trial.sent[0][1])
    assert events[1]['data_base64'] == base64.b64encode(b'a\nb').decode() and events[1]['subject'] == '42'


@pytest.mark.parametrize('status', [400, 413])
def test_a_batch_that_is_refused_is_halved(trial, fake, status):
    """Until the event is found on which it fails; the others arrive, in order, once."""
    taken = []

    def answer(request):
        events = [event['id'] for event in json.loads(request.body)]
        if bad in events:
            return page(status, 'I do not like one')
        taken.extend(events)
        return page(204)

    bad = None
    server = fake(answer)
    trial.start({'url': server.url, 'batch': 'cloudevents'}, delivery={'batch': {'events': 64, 'linger': '300ms'}})
    trial.put(1)
    trial.wait_delivered()
    bad = '01900000-0000-7000-8000-00000000bad0'
    for i in range(64):
        options = {'id': GLib.Variant('s', bad)} if i == 20 else {}
        (event_id,) = trial.client.call('PutWithOptions', '(svsa{sv})', 'x', GLib.Variant('i', i), 'default', options)
        trial.sent.append((event_id, b''))
    trial.wait_ledger(accepted=65, delivered=64, dead=1, queued=0, retried=0, duplicates=0)
    assert taken == [event_id for event_id, _ in trial.sent if event_id != bad]
    (reason,) = letters(trial, 1)
    assert f'{status}: I do not like one' in reason
    assert len(server.requests) < 30


# ---- several at once ----

def numbers(request):
    """Which of the events of trial.put() are in a batch of CloudEvents."""
    return [event['data']['n'] for event in json.loads(request.body)]


class Gate:
    """As an answer: nobody is answered before so many requests are there."""

    def __init__(self, n, answer=lambda request: page(204)):
        self.n = n
        self.answer = answer
        self.came = 0
        self.lock = threading.Lock()
        self.open = threading.Event()

    def __call__(self, request):
        with self.lock:
            self.came += 1
            if self.came == self.n:
                self.open.set()
        assert self.open.wait(60)
        return self.answer(request)


@pytest.mark.parametrize('batch', BATCHES)
@pytest.mark.parametrize('compression', [False, True], ids=['plain', 'gzip'])
def test_several_batches_at_once(trial, fake, batch, compression):
    """A server that answers nobody before it has been asked by all: the order is given up, nothing else is."""
    content_type, parse = BATCHES[batch]
    server = fake(Gate(4))
    trial.start({'url': server.url, 'batch': batch, 'in_flight': 4, **({'compression': 'gzip'} if compression else {})},
                delivery={'batch': {'events': 64, 'linger': '300ms'}})
    trial.put(192)
    trial.wait_delivered()
    assert server.most == 4
    assert len({request.port for request in server.requests}) == 4
    assert sorted(parse_all(server.requests, parse, compression), key=lambda value: value['n']) == [
        json.loads(data) for _, data in trial.sent]
    for request in server.requests:
        values = parse_all([request], parse, compression)
        assert len(values) == 16 and values == sorted(values, key=lambda value: value['n'])
        if batch == 'json_lines' and not compression:
            assert request.body == b''.join(trial.sent[value['n']][1] + b'\n' for value in values)
    assert {request.headers['content-type'] for request in server.requests} == {content_type}
    assert len({request.headers['idempotency-key'] for request in server.requests}) == 12


@pytest.mark.parametrize('n, in_flight, delivery, sizes', [
    (10, 4, {}, [3, 3, 2, 2]),
    (3, 8, {}, [1, 1, 1]),
    (6, 4, {'in_flight': 6}, [2, 2, 1, 1]),
    (12, 4, {'in_flight': 6}, [2, 2, 1, 1, 2, 2, 1, 1]),
], ids=['shares', 'fewer', 'unconfirmed', 'unconfirmed-twice'])
def test_a_batch_is_divided(trial, fake, n, in_flight, delivery, sizes):
    """Evenly; `delivery: {in_flight: …}` bounds all requests together."""
    server = fake(Gate(min(n, in_flight)))
    trial.start({'url': server.url, 'batch': 'cloudevents', 'in_flight': in_flight},
                delivery={'batch': {'linger': '300ms'}, **delivery})
    trial.put(n)
    trial.wait_delivered()
    requests = sorted(map(numbers, server.requests))
    assert [len(request) for request in requests] == sizes
    assert sum(requests, []) == list(range(n))


@pytest.mark.parametrize('status, headers', [(500, {}), (503, {'Retry_After': 1}), (401, {}), (None, {})],
                         ids=['refused', 'later', 'broken', 'lost'])
def test_one_of_several_batches_fails(trial, fake, status, headers):
    """It is sent again as it was, with its key, and nothing else is."""
    failed = []

    def answer(request):
        if 20 in numbers(request) and not failed:
            failed.append(request)
            return page(status, **headers) if status else None
        return page(204)

    server = fake(Gate(4, answer))
    trial.start({'url': server.url, 'batch': 'cloudevents', 'in_flight': 4},
                delivery={'batch': {'events': 64, 'linger': '300ms'}})
    trial.put(64)
    ledger = trial.wait_delivered()
    assert (ledger['retried'], ledger['duplicates']) == (16, 0 if status else 16)
    assert len(server.requests) == 5
    last = server.requests[-1]
    assert (last.body, last.headers['idempotency-key']) == (failed[0].body, failed[0].headers['idempotency-key'])
    assert last.time >= failed[0].time + headers.get('Retry_After', 0) - 0.05
    assert sorted(sum(map(numbers, server.requests[:4]), [])) == list(range(64))


def test_all_of_several_batches_are_lost(trial, fake):
    """Each comes again as it was."""
    lost = []
    server = fake(Gate(4, lambda request: page(204) if len(lost) == 4 else lost.append(request)))
    trial.start({'url': server.url, 'batch': 'json_lines', 'in_flight': 4},
                delivery={'batch': {'events': 30, 'linger': '300ms'}})
    trial.put(30)
    ledger = trial.wait_delivered()
    assert ledger['duplicates'] == 30
    keys = [request.headers['idempotency-key'] for request in server.requests]
    assert sorted(keys[:4]) == sorted(keys[4:]) and len(set(keys)) == 4


@pytest.mark.parametrize('setting', ['timeout', 'delivery.timeout'])
def test_one_of_several_batches_is_not_answered(trial, fake, setting):
    """The others are delivered meanwhile, once."""
    released = threading.Event()
    server = fake(lambda request: 20 in numbers(request) and not released.wait(60) or page(204))
    trial.start({'url': server.url, 'batch': 'cloudevents', 'in_flight': 4, **({'timeout': '2s'} if setting == 'timeout' else {})},
                delivery={'batch': {'events': 64, 'linger': '300ms'}, **({'timeout': '2s'} if setting != 'timeout' else {})})
    trial.put(64)
    trial.wait_state('retrying', 'timed out' if setting == 'timeout' else 'took longer than 2 s')
    trial.wait_ledger(delivered=48, queued=16)
    released.set()
    ledger = trial.wait_delivered()
    assert ledger['duplicates'] == ledger['retried'] >= 16
    keys = {request.headers['idempotency-key'] for request in server.requests}
    assert len(keys) == 4 and len(server.requests) == 4 + ledger['retried'] // 16


@pytest.mark.parametrize('in_flight', [2, 4, 16])
@pytest.mark.parametrize('bad', [{20}, {0, 1, 40, 41, 42, 63}], ids=['one', 'some'])
def test_poison_in_several_batches(trial, fake, in_flight, bad):
    """It alone dies, and all else arrives once."""
    taken = []

    def answer(request):
        found = numbers(request)
        if bad & set(found):
            return page(400, 'I do not like one')
        taken.extend(found)
        return page(204)

    server = fake(answer)
    trial.start({'url': server.url, 'batch': 'cloudevents', 'in_flight': in_flight},
                delivery={'batch': {'events': 64, 'linger': '300ms'}})
    trial.put(64)
    n = len(bad)
    trial.wait_ledger(accepted=64, delivered=64 - n, dead=n, queued=0, retried=0, duplicates=0)
    assert sorted(taken) == sorted(set(range(64)) - bad)
    assert all('400: I do not like one' in reason for reason in letters(trial, n))
    assert {letter[4] for letter in trial.dead_letters()} == {trial.sent[i][0] for i in bad}
    # What is halved is divided again, too.
    assert len(server.requests) <= {2: 50, 4: 40, 16: 28}[in_flight]


def test_what_is_not_json_in_several_batches(trial, fake):
    """Also where nothing is left of a request."""
    server = fake()
    trial.start({'url': server.url, 'batch': 'json_array', 'in_flight': 4},
                delivery={'batch': {'events': 8, 'linger': '60s'}})
    for i in range(8):
        trial.put_bytes(b'x' if i in (2, 3, 4) else str(i).encode(), 'text/plain' if i in (2, 3, 4) else 'application/json')
    trial.wait_ledger(accepted=8, delivered=5, dead=3, retried=0, queued=0)
    assert sorted(json.loads(request.body) for request in server.requests) == [[0, 1], [5], [6, 7]]


def test_poison_beside_a_lost_batch(trial, fake):
    """Nobody knows of the lost one; that the other was refused is known, and the event is found all the same."""
    lost, refused, taken = [], [], []

    def answer(request):
        found = numbers(request)
        if 40 in found and not lost:
            lost.append(found)
            return None
        if 20 in found:
            refused.append(found)
            return page(400, 'I do not like one')
        taken.extend(found)
        return page(204)

    server = fake(Gate(4, answer))
    trial.start({'url': server.url, 'batch': 'cloudevents', 'in_flight': 4},
                delivery={'batch': {'events': 64, 'linger': '300ms'}})
    trial.put(64)
    trial.wait_ledger(accepted=64, delivered=63, dead=1, queued=0, retried=32, duplicates=16)
    assert sorted(taken) == [i for i in range(64) if i != 20]
    assert (len(lost[0]), refused[-1]) == (16, [20])
    (reason,) = letters(trial, 1)
    assert '400: I do not like one' in reason


def test_a_server_that_is_killed_with_batches_at_once(trial, adaptor, proxy):
    proxy.latency = 0.01
    trial.start({**adaptor.options(trial.destination, port=proxy.port), 'batch': 'cloudevents', 'in_flight': 4},
                delivery={'timeout': '2s', 'batch': 12})
    trial.put(2000)
    wait_for(lambda: trial.route()['ledger']['delivered'] > 20, 'some deliveries', 60)
    adaptor.kill()
    trial.wait_state('retrying')
    adaptor.start()
    trial.wait_delivered()
    assert {event.id: event.body for event in trial.received()} == dict(trial.sent)
