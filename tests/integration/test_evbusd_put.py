# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.evbus1.Broker: Put and its siblings."""

import os
import re
import time

import pytest
from gi.repository import Gio, GLib

from evbus_service import BROKER, ERROR, NAME, PATH, CallError, read_events, wait_for

CONFIG = '''
internal: {default: {}}
file:
  default: {path: %s}
'''

# One event a publish of half a second, and room for two: the third must wait.
# In a spool there would be room.
SLOW = '''
evbus: {stop_timeout: 200ms, spool: {directory: none}}
sink:
  default:
    delay_ms: %d
    delivery: {overflow: block, batch: 1, window: {events: 2}}
'''

BODY = GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)})


@pytest.fixture
def events(evbusd, folder):
    """evbusd with an internal and a file route; a function that reads the file."""
    path = folder / 'events.jsonl'
    evbusd(CONFIG % path)
    return lambda: read_events(path)


def raises(name):
    return pytest.raises(CallError, match='^' + re.escape(ERROR + name) + ':')



def test_put_reaches_every_route(events, client):
    event_id = client.put('order.created', BODY, 'default')
    client.wait_ledger(accepted=2, delivered=2, unrouted=0)
    (event,) = events()
    assert event.pop('time').endswith('Z')
    assert event == {'id': event_id, 'routing_key': 'order.created', 'profile': 'default', 'body': {'id': 42}}


def test_gdbus_call_puts(events, client, environment):
    import subprocess
    answer = subprocess.run(
        ['gdbus', 'call', '--session', '-d', NAME, '-o', PATH, '-m', BROKER + '.Put',
         'order.created', "<{'id': <42>}>", 'default'],
        env=environment, text=True, capture_output=True, check=True).stdout
    (event_id,) = re.fullmatch(r"\('(.{36})',\)\n", answer).groups()
    client.wait_ledger(delivered=2)
    assert [event['id'] for event in events()] == [event_id]


def test_an_empty_profile_is_default(events, client):
    client.put('a', BODY, '')
    client.wait_ledger(delivered=2)
    assert events()[0]['profile'] == 'default'


def test_put_nowait_answers_nothing(events, client):
    assert client.call('PutNowait', '(svs)', 'a', BODY, '') == ()
    client.wait_ledger(delivered=2)


def test_put_many_keeps_the_order(events, client):
    sent = [(f'key.{i}', GLib.Variant('i', i), '') for i in range(500)]
    (ids,) = client.call('PutMany', '(a(svs))', sent)
    client.wait_ledger(delivered=1000)
    assert [event['id'] for event in events()] == ids
    assert [event['body'] for event in events()] == list(range(500))


def test_put_many_is_all_or_none(events, client):
    with raises('InvalidArgument'):
        client.call('PutMany', '(a(svs))', [('good', BODY, ''), ('', BODY, '')])
    assert client.wait_ledger(accepted=0)['unrouted'] == 0
    assert client.call('PutMany', '(a(svs))', []) == ([],)


def test_put_many_beyond_the_queue_is_too_large_at_once(events, client):
    sent = [('k', GLib.Variant('b', True), '')] * 70000
    with raises('TooLarge'):
        client.call('PutMany', '(a(svs))', sent)
    client.wait_ledger(accepted=0)


def test_pipelined_calls_of_all_kinds_keep_their_order(events, client):
    answers = []
    for i in range(0, 400, 4):
        values = [GLib.Variant('i', i + n) for n in range(4)]
        answers += [
            client.start('Put', '(svs)', 'k', values[0], ''),
            client.start('PutMany', '(a(svs))', [('k', values[1], '')]),
            client.start('PutNowait', '(svs)', 'k', values[2], ''),
            client.start('PutWithOptions', '(svsa{sv})', 'k', values[3], '', {'wait': GLib.Variant('s', 'accepted')}),
        ]
    for answer in answers:
        client.finish(answer)
    client.wait_ledger(delivered=800)
    assert [event['body'] for event in events()] == list(range(400))


def test_options(events, client):
    options = {'id': GLib.Variant('s', 'mine-1'), 'content-type': GLib.Variant('s', 'text/plain'),
               'attributes': GLib.Variant('a{ss}', {'color': 'red'}), 'max-age': GLib.Variant('t', 60000)}
    body = GLib.Variant('ay', b'hello')
    arguments = ('PutWithOptions', '(svsa{sv})', 'k', body, '', options)
    assert client.call(*arguments) == ('mine-1',)
    # The same id again: the same answer, and no second event.
    assert client.call(*arguments) == ('mine-1',)
    client.wait_ledger(accepted=2, delivered=2)
    (event,) = events()
    assert event['id'] == 'mine-1'


@pytest.mark.parametrize('options', [
    {'colour': GLib.Variant('s', 'red')},
    {'id': GLib.Variant('i', 1)},
    {'id': GLib.Variant('s', '')},
    {'id': GLib.Variant('s', 'x' * 129)},
    {'wait': GLib.Variant('s', 'for ever')},
    {'timeout': GLib.Variant('s', '10')},
    {'max-age': GLib.Variant('i', -1)},
    {'attributes': GLib.Variant('a{sv}', {})},
])
def test_options_that_are_wrong(events, client, options):
    with raises('InvalidArgument'):
        client.call('PutWithOptions', '(svsa{sv})', 'k', BODY, '', options)
    client.wait_ledger(accepted=0)


@pytest.mark.parametrize('key,body,profile,name', [
    ('', BODY, '', 'InvalidArgument'),
    ('k' * 256, BODY, '', 'InvalidArgument'),
    ('k', BODY, 'p' * 256, 'InvalidArgument'),
    ('k', GLib.Variant('d', float('nan')), '', 'InvalidBody'),
    ('k', GLib.Variant('ad', [1.0, float('inf')]), '', 'InvalidBody'),
    ('k', GLib.Variant('h', 0), '', 'InvalidBody'),
    ('k', GLib.Variant('(ah)', ([0, 1],)), '', 'InvalidBody'),
    ('k', GLib.Variant('s', 'x' * 1100000), '', 'TooLarge'),
])
@pytest.mark.parametrize('method', ['Put', 'PutNowait'])
def test_bad_events_are_refused(events, client, method, key, body, profile, name):
    with raises(name):
        client.call(method, '(svs)', key, body, profile)
    client.put('still', BODY)
    client.wait_ledger(accepted=2, delivered=2)


def test_duplicate_keys_are_refused(events, client):
    entry = GLib.VariantBuilder(GLib.VariantType('a{sv}'))
    for value in (1, 2):
        entry.add_value(GLib.Variant.new_dict_entry(GLib.Variant('s', 'a'), GLib.Variant('v', GLib.Variant('i', value))))
    reply = client.connection
    parameters = GLib.Variant.new_tuple(GLib.Variant('s', 'k'), GLib.Variant.new_variant(entry.end()), GLib.Variant('s', ''))
    with pytest.raises(GLib.Error, match=ERROR + 'InvalidBody'):
        reply.call_sync(NAME, PATH, BROKER, 'Put', parameters, None, 0, 10000, None)
    client.wait_ledger(accepted=0)


def test_file_descriptors_are_refused(events, client):
    descriptors = Gio.UnixFDList.new()
    read_end, write_end = os.pipe()
    descriptors.append(read_end)
    parameters = GLib.Variant('(svs)', ('k', GLib.Variant('s', 'harmless'), ''))
    with pytest.raises(GLib.Error, match=ERROR + 'InvalidBody.*file descriptors'):
        client.connection.call_with_unix_fd_list_sync(NAME, PATH, BROKER, 'Put', parameters, None, 0, 10000,
                                                      descriptors, None)
    os.close(read_end)
    os.close(write_end)
    client.wait_ledger(accepted=0)


@pytest.mark.parametrize('method,signature,arguments', [
    ('Put', '(sv)', ('k', BODY)),
    ('Put', '(sss)', ('k', 'body', '')),
    ('PutMany', '(a(sv))', ([('k', BODY)],)),
    ('Subscribe', '()', ()),
])
def test_wrong_arguments_are_an_error_of_d_bus(events, client, method, signature, arguments):
    with pytest.raises(CallError, match=r'^org\.freedesktop\.DBus\.Error\.InvalidArgs'):
        client.call(method, signature, *arguments)


@pytest.mark.parametrize('keywords,error', [
    ({'path': '/org/evbus2'}, 'UnknownMethod'),
    ({'interface': 'org.evbus1.Nothing'}, 'UnknownMethod'),
])
def test_elsewhere_there_is_nothing(events, client, keywords, error):
    with pytest.raises(CallError, match=error):
        client.call('Put', '(svs)', 'k', BODY, '', **keywords)
    client.wait_ledger(accepted=0)


def test_what_matches_no_route_is_accepted_and_counted(events, client):
    assert client.put('k', BODY, 'nobody')
    client.wait_ledger(accepted=0, unrouted=1)


def test_a_put_waits_for_space_and_order_holds(evbusd, client):
    evbusd(SLOW % 100)
    client.wait_running(1)
    answers = [client.start('Put', '(svs)', 'k', GLib.Variant('i', i), '') for i in range(8)]
    ids = [client.finish(answer)[0] for answer in answers]
    assert ids == sorted(ids)     # the ids begin with the time they were made
    client.wait_ledger(accepted=8, delivered=8)


def test_put_many_waits_for_space_for_all_of_it(evbusd, client, folder):
    path = folder / 'events.jsonl'
    evbusd(SLOW % 100 + f'\nfile:\n  default: {{path: {path}}}\n')
    client.wait_running(2)
    answers = [client.start('Put', '(svs)', 'k', GLib.Variant('i', 0), '')]
    answers += [client.start('PutMany', '(a(svs))', [('k', GLib.Variant('i', i + n), '') for n in range(2)])
                for i in (1, 3, 5)]
    ids = [client.finish(answer)[0] for answer in answers]
    client.wait_ledger(accepted=14, delivered=14)
    assert [event['id'] for event in read_events(path)] == [ids[0]] + ids[1] + ids[2] + ids[3]


def test_put_many_beyond_a_blocking_route_is_too_large_at_once(evbusd, client):
    evbusd(SLOW % 100)
    client.wait_running(1)
    with raises('TooLarge'):
        client.call('PutMany', '(a(svs))', [('k', BODY, '')] * 3)
    client.wait_ledger(accepted=0)


def test_a_put_that_waits_too_long_is_never_delivered(evbusd, client):
    evbusd(SLOW % 60000)
    client.wait_running(1)
    for i in range(2):
        client.put('k', GLib.Variant('i', i))
    options = {'timeout': GLib.Variant('u', 100)}
    head = client.start('PutWithOptions', '(svsa{sv})', 'k', BODY, '', options)
    behind = client.start('PutWithOptions', '(svsa{sv})', 'k', BODY, '', {'timeout': GLib.Variant('u', 50)})
    for answer in (head, behind):
        with raises('QueueFull'):
            client.finish(answer)
    assert client.wait_ledger(accepted=2)['dropped'] == 0


def test_ten_seconds_are_enough(evbusd, client):
    evbusd(SLOW % 60000)
    client.wait_running(1)
    for i in range(2):
        client.put('k', GLib.Variant('i', i))
    start = time.monotonic()
    with raises('QueueFull'):
        client.put('k', BODY)
    assert 9 < time.monotonic() - start < 15
    client.wait_ledger(accepted=2, queued=2)


def test_put_nowait_fails_at_once_when_there_is_no_space(evbusd, client):
    evbusd(SLOW % 60000)
    client.wait_running(1)
    for i in range(2):
        client.put('k', GLib.Variant('i', i))
    with raises('QueueFull'):
        client.call('PutNowait', '(svs)', 'k', BODY, '')
    client.wait_ledger(accepted=2)


def test_one_waiting_sender_does_not_hold_up_another(evbusd, client, bus):
    evbusd(SLOW % 60000 + '\ninternal: {other: {}}\n')
    client.wait_running(2)
    for i in range(2):
        client.put('k', GLib.Variant('i', i))
    waiting = client.start('Put', '(svs)', 'k', BODY, '')
    behind = client.start('Put', '(svs)', 'k', BODY, 'other')
    other = bus.client()
    other.put('k', BODY, 'other')
    other.wait_ledger(accepted=3, delivered=1)
    assert not waiting and not behind


def test_the_waiting_puts_of_a_sender_that_leaves_are_taken_back(evbusd, client, bus):
    evbusd(SLOW % 1500)
    client.wait_running(1)
    leaver = bus.client()
    for i in range(6):
        leaver.start('Put', '(svs)', 'k', GLib.Variant('i', i), '')
    client.wait_ledger(accepted=2)
    leaver.close()
    # The next one to get space is another sender's; all the rest has gone.
    client.put('k', BODY)
    client.wait_ledger(accepted=3, delivered=3)


def test_a_refusal_nobody_waits_for_is_logged(evbusd, client, folder):
    daemon = evbusd(CONFIG % (folder / 'events.jsonl'))
    message = Gio.DBusMessage.new_method_call(NAME, PATH, BROKER, 'PutNowait')
    message.set_flags(Gio.DBusMessageFlags.NO_REPLY_EXPECTED)
    message.set_body(GLib.Variant('(svs)', ('', BODY, '')))
    client.connection.send_message(message, Gio.DBusSendMessageFlags.NONE)
    daemon.wait_log('refused whose senders want no answer')
