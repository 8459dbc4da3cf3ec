# SPDX-License-Identifier: LGPL-2.1-or-later
"""While a sender's Put waits for space, that sender's later calls wait behind it."""

import re

import pytest
from gi.repository import GLib

from evbus_service import ERROR, CallError, drain_context, read_events, wait_for

MODES = pytest.mark.parametrize('mode', ['spool', 'memory'])
# Of its own mode a share of 64 KiB, and a target that is not there yet: one BIG event fits in,
# and many small ones beside it.
CONFIG = '''
evbus: {stop_timeout: 100ms}
internal: {other: {}}
file:
  default:
    path: %s/out/events.jsonl
    delivery: {overflow: block, %s: {bytes: 64KiB}}
'''
BIG = GLib.Variant('s', 'x' * 40000)
MAX_CALLS_OF_SENDER = 8192


def raises(name):
    return pytest.raises(CallError, match='^' + re.escape(ERROR + name) + ':')


def options(**values):
    types = {'timeout': 'u', 'wait': 's', 'id': 's'}
    return {key: GLib.Variant(types[key], value) for key, value in values.items()}


@pytest.fixture
def blocked(evbusd, client, folder):
    """blocked(mode) starts evbusd with one big event in it; let() makes that its target is there."""
    (folder / 'out').write_text('in the way')

    class Blocked:
        def __init__(self, mode):
            share = 'spool' if mode == 'spool' else 'window'
            self.daemon = evbusd(CONFIG % (folder, share),
                                 arguments=['--session'] + (['--no-spool'] if mode == 'memory' else []))
            self.first = client.put('first', BIG)

        def let(self):
            (folder / 'out').unlink()
            (folder / 'out').mkdir()

        def keys(self):
            return [event['routing_key'] for event in read_events(folder / 'out' / 'events.jsonl')]

    return Blocked


def start(client, method, key, body, profile='default', **keywords):
    extra = [options(**keywords)] if method == 'PutWithOptions' else []
    return client.start(method, '(svsa{sv})' if extra else '(svs)', key, body, profile, *extra, timeout=90)


def unanswered(client, answers):
    """None of them, once the service has seen them all: its answer to a later call is here."""
    client.ledger()
    drain_context()
    return not any(answers)


@MODES
def test_all_that_a_sender_calls_waits_for_its_turn(blocked, client, bus, mode):
    service = blocked(mode)
    small = GLib.Variant('i', 1)
    answers = [start(client, 'Put', 'waits', BIG),
               start(client, 'PutNowait', 'nowait', small),
               start(client, 'PutWithOptions', 'options', small, wait='accepted'),
               client.start('PutMany', '(a(svs))', [('many', small, 'default'), ('many', small, 'default')]),
               start(client, 'PutNowait', 'elsewhere', small, 'other'),
               start(client, 'Put', 'elsewhere', small, 'other')]
    # There is room for all but the first, on a route of their own or beside the one event.
    assert unanswered(client, answers)
    client.wait_ledger(accepted=1, queued=1)
    # Nobody waits for another sender.
    bus.client().put('elsewhere', small, 'other')
    client.wait_ledger(accepted=2, delivered=1)
    assert unanswered(client, answers)

    service.let()
    for answer in answers:
        client.finish(answer)
    client.wait_ledger(accepted=9, delivered=9)
    assert service.keys() == ['first', 'waits', 'nowait', 'options', 'many', 'many']


@MODES
def test_a_put_nowait_waits_for_its_turn_and_not_for_space(blocked, client, mode):
    blocked(mode)
    waits = start(client, 'PutWithOptions', 'waits', BIG, timeout=300)
    nowait = start(client, 'PutNowait', 'nowait', BIG)
    fits = start(client, 'PutNowait', 'fits', GLib.Variant('i', 1))
    assert unanswered(client, [nowait, fits])
    for answer in (waits, nowait):
        with raises('QueueFull'):
            client.finish(answer)
    assert client.finish(fits) == ()
    client.wait_ledger(accepted=2, queued=2)


@MODES
def test_each_waits_no_longer_than_its_own_time(blocked, client, mode):
    service = blocked(mode)
    waits = start(client, 'PutWithOptions', 'waits', BIG, timeout=60000)
    short = start(client, 'PutWithOptions', 'short', GLib.Variant('i', 1), timeout=50)
    last = start(client, 'PutWithOptions', 'last', GLib.Variant('i', 1), timeout=60000)
    with raises('QueueFull'):
        client.finish(short)
    assert unanswered(client, [waits, last])
    service.let()
    client.finish(waits)
    client.finish(last)
    client.wait_ledger(accepted=3, delivered=3)
    assert service.keys() == ['first', 'waits', 'last']


@MODES
def test_one_that_waits_for_its_delivery_has_its_turn_too(blocked, client, mode):
    service = blocked(mode)
    waits = start(client, 'PutWithOptions', 'waits', BIG, timeout=60000)
    delivered = start(client, 'PutWithOptions', 'delivered', GLib.Variant('i', 1), timeout=60000, wait='delivered')
    last = start(client, 'PutNowait', 'last', GLib.Variant('i', 1))
    assert unanswered(client, [waits, delivered, last])
    service.let()
    for answer in (waits, delivered, last):
        client.finish(answer)
    client.wait_ledger(accepted=4, delivered=4)
    assert service.keys() == ['first', 'waits', 'delivered', 'last']


@MODES
def test_a_stop_answers_all_that_wait(blocked, client, mode):
    service = blocked(mode)
    answers = [start(client, 'PutWithOptions', 'waits', BIG, timeout=60000),
               start(client, 'PutNowait', 'nowait', GLib.Variant('i', 1)),
               start(client, 'Put', 'elsewhere', GLib.Variant('i', 1), 'other')]
    assert unanswered(client, answers)
    service.daemon.stop()
    for answer in answers:
        with raises('Closed'):
            client.finish(answer)


@MODES
def test_a_flood_of_calls_that_wait_is_bounded(blocked, client, mode):
    blocked(mode)
    answers = [start(client, 'PutWithOptions', 'waits', BIG if i == 0 else GLib.Variant('i', i), timeout=90000)
               for i in range(MAX_CALLS_OF_SENDER + 100)]
    wait_for(lambda: sum(map(bool, answers)) >= 100, 'the surplus to be refused', deadline=60)
    assert unanswered(client, answers[:MAX_CALLS_OF_SENDER])
    for answer in answers[MAX_CALLS_OF_SENDER:]:
        with raises('QueueFull'):
            client.finish(answer)
    client.wait_ledger(accepted=1, queued=1)
