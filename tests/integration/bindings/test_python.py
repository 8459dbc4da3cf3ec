# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library from Python: what a program of a user does with it."""

import json
import threading

import pytest

from support import Evbus, GLib, GObject, ledger_of, stop, wait_until

BODY = GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)})


@pytest.fixture
def broker():
    broker = Evbus.Broker()
    yield broker
    stop(broker)
    ledger = ledger_of(broker)
    assert ledger['queued'] == 0


@pytest.fixture
def route(broker):
    route = broker.add_route('internal', 'order*', None)
    broker.start()
    return route


def test_put_nowait_arrives(broker, route):
    event_id = broker.put_nowait('order.created', BODY, 'orders')
    event = route.get_mailbox().get(None, None)
    assert event.get_id() == event_id
    assert event.get_routing_key() == 'order.created'
    assert event.get_profile() == 'orders'
    assert event.get_content_type() == 'application/json'
    assert event.get_time() > 1_600_000_000 * 10**6
    assert json.loads(event.get_body().get_data()) == {'id': 42}
    assert ledger_of(route)['accepted'] == 1


def test_put_async_answers_with_the_id(broker, route):
    answers = []
    broker.put_async('order.created', BODY, 'orders', None,
                     lambda source, result: answers.append(source.put_finish(result)))
    assert answers == []
    wait_until('the answer', lambda: answers)
    assert route.get_mailbox().get(None, None).get_id() == answers[0]


def test_put_bytes_is_taken_as_it_is(broker, route):
    broker.put_bytes_nowait('order.created', GLib.Bytes(b'\x00\xff'), 'application/octet-stream', 'orders')
    event = route.get_mailbox().get(None, None)
    assert event.get_body().get_data() == b'\x00\xff'
    assert event.get_content_type() == 'application/octet-stream'


def test_put_with_options(broker, route):
    answers = []
    options = GLib.Variant('a{sv}', {'id': GLib.Variant('s', 'mine-1'),
                                     'attributes': GLib.Variant('a{ss}', {'trace': 'abc'})})
    broker.put_with_options_async('order.created', BODY, 'orders', options, None,
                                  lambda source, result: answers.append(source.put_with_options_finish(result)))
    wait_until('the answer', lambda: answers)
    event = route.get_mailbox().get(None, None)
    assert (answers, event.get_id()) == (['mine-1'], 'mine-1')
    assert event.get_attributes().unpack() == {'trace': 'abc'}


def test_put_many_in_order(broker, route):
    answers = []
    events = GLib.Variant('a(svs)', [('order.created', GLib.Variant('i', n), 'orders') for n in range(10)])
    broker.put_many_async(events, None,
                          lambda source, result: answers.append(source.put_many_finish(result)))
    wait_until('the answer', lambda: answers)
    taken = [route.get_mailbox().get(None, None) for _ in range(10)]
    assert [event.get_id() for event in taken] == list(answers[0])
    assert [event.get_body().get_data() for event in taken] == [str(n).encode() for n in range(10)]


def test_put_many_nowait(broker, route):
    ids = broker.put_many_nowait(GLib.Variant('a(svs)', [('k', BODY, 'orders'), ('l', BODY, 'orders')]))
    taken = [route.get_mailbox().get(None, None) for _ in range(2)]
    assert [event.get_id() for event in taken] == ids


def test_mailbox_get_async_and_try_get(broker, route):
    events = []
    mailbox = route.get_mailbox()
    assert mailbox.try_get(None) is None
    mailbox.get_async('order.paid', None,
                      lambda source, result: events.append(source.get_finish(result)))
    broker.put_nowait('order.created', BODY, 'orders')
    broker.put_nowait('order.paid', BODY, 'orders')
    wait_until('the event', lambda: events)
    assert events[0].get_routing_key() == 'order.paid'
    wait_until('the other event', lambda: mailbox.get_length() == 1)
    assert [event.get_routing_key() for event in mailbox.try_get_many(None, 10)] == ['order.created']


def test_errors_are_of_the_librarys_domain(broker, route):
    with pytest.raises(GLib.Error) as refused:
        broker.put_nowait('', BODY, 'orders')
    assert refused.value.matches(Evbus.error_quark(), Evbus.Error.INVALID_ARGUMENT)
    with pytest.raises(GLib.Error) as refused:
        broker.put_nowait('order.created', GLib.Variant('d', float('nan')), 'orders')
    assert refused.value.matches(Evbus.error_quark(), Evbus.Error.INVALID_BODY)
    with pytest.raises(GLib.Error) as refused:
        broker.add_route('no-such-provider', '*', None)
    assert refused.value.matches(Evbus.error_quark(), Evbus.Error.NO_PROVIDER)
    assert ledger_of(broker)['accepted'] == 0


def test_explain_and_routes(broker, route):
    explanations = broker.explain('invoices')
    assert [explanation.get_matches() for explanation in explanations] == [False]
    assert explanations[0].get_route() is route
    assert explanations[0].get_reason()
    routes = broker.get_routes()
    assert [item.get_provider() for item in routes] == ['internal']
    assert route.props.profile == 'order*'
    wait_until('the route to run', lambda: route.get_status() == (Evbus.RouteState.RUNNING, None))


def test_puts_of_several_threads(broker, route):
    def put():
        for _ in range(200):
            broker.put_nowait('order.created', BODY, 'orders')

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    ids = {route.get_mailbox().get(None, None).get_id() for _ in range(800)}
    for thread in threads:
        thread.join()
    assert len(ids) == 800


def test_providers_describe_themselves():
    provider = Evbus.Provider.lookup('file')
    options = {option.get_name(): option for option in provider.get_options()}
    assert options['path'].get_required()
    assert options['path'].get_help()
    assert 'internal' in [item.get_name() for item in Evbus.Provider.list()]


def test_profiles_name_the_place_of_a_mistake():
    with pytest.raises(GLib.Error) as refused:
        Evbus.Profiles.new_for_data(b'file:\n  "*": {pth: /x}\n', 'mine.yaml')
    assert refused.value.matches(Evbus.error_quark(), Evbus.Error.INVALID_CONFIG)
    assert 'mine.yaml:2:' in refused.value.message and "'path'" in refused.value.message


class Text(GObject.Object, Evbus.Serializer):
    """A serializer of this program."""

    def do_get_content_type(self):
        return 'text/x-gvariant'

    def do_to_bytes(self, body):
        if body.get_type_string() == 'i':
            raise GLib.Error('no numbers', 'evbus-error-quark', Evbus.Error.INVALID_BODY)
        if body.get_type_string() == 'd':
            raise ValueError('a mistake in the serializer')
        return GLib.Bytes.new(body.print_(True).encode())


def test_a_serializer_of_its_own(broker, route):
    Evbus.Serializer.register('text', Text())
    broker.set_serializer('text')
    for _ in range(100):
        broker.put_nowait('k', BODY, 'orders')
        event = route.get_mailbox().get(None, None)
        assert event.get_content_type() == 'text/x-gvariant'
        assert event.get_body().get_data() == b"{'id': <42>}"
    for body, expected in ((GLib.Variant('i', 1), 'no numbers'), (GLib.Variant('d', 1), 'failed without saying why')):
        with pytest.raises(GLib.Error, match=expected) as refused:
            broker.put_nowait('k', body, 'orders')
        assert refused.value.matches(Evbus.error_quark(), Evbus.Error.INVALID_BODY)
