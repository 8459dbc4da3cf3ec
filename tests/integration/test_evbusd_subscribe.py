# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.evbus1.Broker: Subscribe, Unsubscribe and Event."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from gi.repository import GLib

from evbus_service import BROKER, ERROR, MANAGER, NAME, PATH, CallError, wait_for

INTERNAL = "internal: {'*': {}}"


@pytest.fixture
def service(evbusd):
    return evbusd(INTERNAL)


def value(number):
    return GLib.Variant('i', number)


def test_an_event_arrives_with_all_it_has(service, client):
    before = time.time() * 1e6
    subscription = client.subscribe()
    assert subscription > 0
    options = {'attributes': GLib.Variant('a{ss}', {'color': 'red'})}
    body = GLib.Variant('a{sv}', {'id': value(42)})
    (event_id,) = client.call('PutWithOptions', '(svsa{sv})', 'order.created', body, 'orders', options)
    (event,) = client.wait_events(1)
    assert before - 1e6 < event['time'] < time.time() * 1e6 + 1e6
    assert event['subscription'] == subscription
    assert event['id'] == event_id
    assert (event['routing_key'], event['profile'], event['body']) == ('order.created', 'orders', {'id': 42})
    assert event['attributes'] == {'content-type': 'application/json', 'color': 'red'}


@pytest.mark.parametrize('text,type_string,expected', [
    ('{}', 'a{sv}', {}),
    ('[]', 'av', []),
    (' [1, "a", {"b": [true, false]}] ', 'av', [1, 'a', {'b': [True, False]}]),
    ('0', 'x', 0),
    ('-9223372036854775808', 'x', -2**63),
    ('9223372036854775807', 'x', 2**63 - 1),
    ('9223372036854775808', 't', 2**63),
    ('18446744073709551615', 't', 2**64 - 1),
    ('18446744073709551616', 'd', 2.0**64),
    ('-0', 'd', -0.0),
    ('1.5e3', 'd', 1500.0),
    ('1e-400', 'd', 0.0),
    ('null', 'g', ''),
    ('{"a": null}', 'a{sv}', {'a': ''}),
    ('"\\u00e9\\ud83d\\ude00\\n\\/\\"\\\\\\b\\f\\r\\t"', 's', 'é😀\n/"\\\b\f\r\t'),
    ('"😀"', 's', '😀'),
    ('{"a\\u0062": 1}', 'a{sv}', {'ab': 1}),
    ('[' * 31 + ']' * 31, 'av', None),
    # What a D-Bus value cannot say, and what is not JSON, arrives as bytes.
    ('"\\u0000"', 'ay', None),
    ('"\\ud83d"', 'ay', None),
    ('{"\\u0000": 1}', 'ay', None),
    ('1e400', 'ay', None),
    ('[' * 40 + ']' * 40, 'ay', None),
    ('{"a":' * 22 + '1' + '}' * 22, 'ay', None),
])
def test_json_becomes_a_value(service, client, text, type_string, expected):
    client.subscribe()
    options = {'content-type': GLib.Variant('s', 'application/json')}
    client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('ay', text.encode()), '', options)
    (event,) = client.wait_events(1)
    assert event['variant'].get_type_string() == type_string
    if type_string == 'ay':
        assert bytes(event['body']) == text.encode()
    elif expected is not None:
        assert repr(event['body']) == repr(expected)
    assert service.process.poll() is None


@pytest.mark.parametrize('text', ['{"a": }', '{"a": 1', 'tru', '', '1 2', '{"a": 1, "a": 2}', '[' * 65 + ']' * 65])
def test_what_is_not_json_is_refused_as_json(service, client, text):
    options = {'content-type': GLib.Variant('s', 'application/json')}
    with pytest.raises(CallError, match=ERROR + 'InvalidBody.*byte'):
        client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('ay', text.encode()), '', options)
    assert service.process.poll() is None


def test_what_python_writes_arrives_as_python_reads_it(service, client):
    """Python's json is the judge of the reader."""
    document = {'text': 'a"\\/\b\f\n\r\t\x7f é 漢 😀', 'numbers': [0, -1, 2**53, 0.1, 1e300, -2.5e-10],
                'nested': {'deep': [[[{'x': [True, False]}]]]}, '': ' ', 'long': 'x' * 5000}
    client.subscribe()
    options = {'content-type': GLib.Variant('s', 'application/json')}
    for ascii_only in (False, True):
        text = json.dumps(document, ensure_ascii=ascii_only, indent=1)
        client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('ay', text.encode()), '', options)
    for event in client.wait_events(2):
        assert event['body'] == document


def test_another_content_type_stays_bytes(service, client):
    client.subscribe()
    options = {'content-type': GLib.Variant('s', 'text/plain')}
    client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('ay', b'[1]'), '', options)
    (event,) = client.wait_events(1)
    assert bytes(event['body']) == b'[1]'
    assert event['attributes']['content-type'] == 'text/plain'


@pytest.mark.parametrize('content_type', ['application/json; charset=utf-8', 'Application/JSON', 'application/x+json'])
def test_whatever_is_json_becomes_a_value(service, client, content_type):
    client.subscribe()
    options = {'content-type': GLib.Variant('s', content_type)}
    client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('ay', b'["a"]'), '', options)
    (event,) = client.wait_events(1)
    assert event['body'] == ['a']
    assert event['attributes']['content-type'] == content_type


def twice(key, first, second):
    """An a{sv} that has the key twice, which a dictionary of Python cannot."""
    builder = GLib.VariantBuilder(GLib.VariantType('a{sv}'))
    for text in (first, second):
        builder.add_value(GLib.Variant('{sv}', (key, GLib.Variant('s', text))))
    return builder.end()


@pytest.mark.parametrize('method,before,key', [
    ('Subscribe', (), 'profile'),
    ('PutWithOptions', (GLib.Variant('s', 'k'), GLib.Variant('v', GLib.Variant('i', 1)), GLib.Variant('s', '')), 'id'),
])
def test_an_option_that_is_given_twice_is_refused(service, client, method, before, key):
    arguments = GLib.Variant.new_tuple(*before, twice(key, 'one', 'two'))
    with pytest.raises(GLib.Error, match=f"InvalidArgument.*'{key}' is given twice"):
        client.connection.call_sync(NAME, PATH, BROKER, method, arguments, None, 0, 20000, None)


def test_globs_choose(service, client):
    client.subscribe(profile='order*', routing_key='*.created')
    for key, profile in (('a.created', 'orders'), ('a.deleted', 'orders'), ('a.created', 'bills'), ('b.created', 'order')):
        client.put(key, value(1), profile)
    client.put('last.created', value(2), 'orders')
    events = client.wait_events(3)
    assert [event['routing_key'] for event in events] == ['a.created', 'b.created', 'last.created']


def test_a_route_with_a_key_of_its_own(evbusd, client):
    """The key of the profile takes the place of that of the event."""
    evbusd("internal: {'*': {routing_key: audit}}")
    client.subscribe(routing_key='own')
    client.subscribe(routing_key='audit')
    client.put('own', value(1))
    (event,) = client.wait_events(1)
    assert (event['routing_key'], event['body']) == ('audit', 1)


@pytest.mark.parametrize('options', [
    {'pattern': GLib.Variant('s', '*')},
    {'profile': GLib.Variant('i', 1)},
    {'profile': GLib.Variant('s', '')},
    {'routing-key': GLib.Variant('s', '*' * 256)},
])
def test_bad_options_are_refused(service, client, options):
    with pytest.raises(CallError, match=ERROR + 'InvalidArgument'):
        client.call('Subscribe', '(a{sv})', options)


def test_a_pattern_that_explodes_does_not(service, client):
    client.subscribe(routing_key='*a' * 120 + 'b')
    start = time.monotonic()
    client.put('a' * 250, value(1))
    client.wait_ledger(delivered=1)
    assert client.ledger()['queued'] == 0
    assert time.monotonic() - start < 5


def test_only_the_subscriber_gets_the_events(service, client, bus):
    other = bus.client()
    other.connection.signal_subscribe(None, 'org.evbus1.Broker', 'Event', None, None, 0,
                                      lambda *_: other.events.append(True))
    client.subscribe()
    client.put('k', value(1))
    client.wait_events(1)
    other.owner()          # a round trip: what was sent before is here
    assert not other.events
    other.close()


def test_unsubscribe_ends_it(service, client):
    first, second = client.subscribe(), client.subscribe(routing_key='last')
    assert first != second
    client.call('Unsubscribe', '(t)', first)
    client.put('k', value(1))
    client.put('last', value(2))
    (event,) = client.wait_events(1)
    assert (event['subscription'], event['routing_key']) == (second, 'last')
    with pytest.raises(CallError, match=ERROR + 'NotFound'):
        client.call('Unsubscribe', '(t)', first)


def test_nobody_ends_the_subscription_of_another(service, client, bus):
    subscription = client.subscribe()
    other = bus.client()
    with pytest.raises(CallError, match=ERROR + 'NotFound'):
        other.call('Unsubscribe', '(t)', subscription)
    other.close()
    client.put('k', value(1))
    client.wait_events(1)


def test_subscriptions_are_bounded_and_end_with_the_subscriber(service, client, bus):
    for _round in range(18):
        other = bus.client()
        for _ in range(64):
            other.call('Subscribe', '(a{sv})', {})
        with pytest.raises(CallError, match=ERROR + 'TooLarge'):
            other.call('Subscribe', '(a{sv})', {})
        other.close()
        # 18 times 64 are more than there may be in all: they did end.
        wait_for(lambda name=other.unique_name: client.owner(name) is None, 'the subscriber to be gone')
    assert client.subscribe()


def test_order_is_kept(service, client):
    client.subscribe()
    sent = [('k', value(i), '') for i in range(3000)]
    for start in range(0, 3000, 100):
        client.call('PutMany', '(a(svs))', sent[start:start + 100])
    events = client.wait_events(3000)
    assert [event['body'] for event in events] == list(range(3000))


SLOW_SUBSCRIBER = '''
import sys
sys.path.insert(0, sys.argv[1])
from evbus_service import Client
client = Client(sys.argv[2])
client.subscribe()
print('subscribed', flush=True)
sys.stdin.readline()
client.wait_events(1)
from evbus_service import iterate_until
iterate_until(lambda: client.events[-1]['routing_key'] == 'last', 'the last event')
print([event['body'] for event in client.events])
print([event['attributes'].get('missed', 0) for event in client.events])
'''


def test_a_subscriber_that_does_not_read_loses_the_oldest(service, client, bus, environment):
    """It is stopped while far more arrives than is kept for it; then it gets
    what was under way, the number that is missing, and the newest."""
    process = subprocess.Popen([sys.executable, '-c', SLOW_SUBSCRIBER, os.path.dirname(__file__), bus.address],
                               env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'subscribed\n'
    process.send_signal(signal.SIGSTOP)
    total = 20000
    for start in range(0, total, 1000):
        client.call('PutMany', '(a(svs))', [('k', value(start + i), '') for i in range(1000)])
        client.wait_ledger(delivered=start + 1000)
    client.put('last', value(total))
    client.wait_ledger(delivered=total + 1, queued=0)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate('go\n', timeout=60)
    bodies, missed = (json.loads(line) for line in output.splitlines())
    assert bodies == sorted(bodies)
    assert bodies[0] == 0 and bodies[-1] == total
    assert len(bodies) + sum(missed) == total + 1
    assert 1024 <= len(bodies) <= 1024 + 256 + 1
    # The next one after the hole is the one that says how large it was.
    (hole,) = [index for index, count in enumerate(missed) if count]
    assert bodies[hole] - bodies[hole - 1] - 1 == missed[hole]
    service.wait_log('does not keep up')


def test_many_subscribers(service, client, bus):
    others = [bus.client() for _ in range(8)]
    for other in others:
        other.subscribe()
    client.call('PutMany', '(a(svs))', [('k', value(i), '') for i in range(500)])
    for other in others:
        assert [event['body'] for event in other.wait_events(500)] == list(range(500))
        other.close()


def test_the_mailbox_is_drained_without_subscribers(evbusd, client):
    evbusd("internal: {'*': {max_events: 10}}")
    client.call('PutMany', '(a(svs))', [('k', value(i), '') for i in range(1000)])
    client.wait_ledger(accepted=1000, delivered=1000)
    assert client.call('ListRoutes', interface=MANAGER)[0][0]['state'] == 'running'
