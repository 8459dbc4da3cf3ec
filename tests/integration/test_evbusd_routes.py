# SPDX-License-Identifier: LGPL-2.1-or-later
"""The routes as objects on the bus, what is told of them, and what they are told."""

import time

import pytest
from gi.repository import Gio, GLib

from evbus_service import (ERROR, MANAGER, NAME, PATH, CallError, assert_balanced, iterate_until, read_events, wait_for)

ROUTE = 'org.evbus1.Route'
OBJECTS = 'org.freedesktop.DBus.ObjectManager'
PROPERTIES = 'org.freedesktop.DBus.Properties'
BODY = GLib.Variant('i', 1)


def reload(daemon, client, config):
    daemon.config.write_text(config)
    client.call('Reload', interface=MANAGER)


def objects(client):
    """{path: properties} of the routes."""
    (managed,) = client.call('GetManagedObjects', interface=OBJECTS)
    assert all(list(interfaces) == [ROUTE] for interfaces in managed.values())
    return {path: interfaces[ROUTE] for path, interfaces in managed.items()}


def path_of(client, name):
    return next(path for path, properties in objects(client).items() if properties['Name'] == name)


class Listener:
    """What is told of an object's properties: a list of (time, {name: value})."""

    def __init__(self, client, path):
        self.told = []
        self.subscription = client.connection.signal_subscribe(
            NAME, PROPERTIES, 'PropertiesChanged', path, None, Gio.DBusSignalFlags.NONE, self.on_changed)
        # The bus has the rule once it has answered what came behind.
        client.owner()

    def on_changed(self, _connection, _sender, _path, _interface, _signal, parameters):
        interface, changed, invalidated = parameters.unpack()
        assert interface.startswith('org.evbus1.') and not invalidated
        self.told.append((time.monotonic(), changed))

    def value(self, name):
        """The last that was told."""
        return next((changed[name] for _, changed in reversed(self.told) if name in changed), None)

    def wait(self, name, condition):
        iterate_until(lambda: self.value(name) is not None and condition(self.value(name)),
                      f'{name} to be told; it was {self.value(name)}')
        return self.value(name)


def test_an_object_a_route(evbusd, client, folder):
    evbusd(f'internal: {{"order*": {{delivery: {{name: orders}}}}}}\nfile: {{audit: {{path: {folder}/a.jsonl}}}}')
    client.wait_running(2)
    first, second = sorted(objects(client))
    assert first.startswith(PATH + '/route/')
    by_name = {properties['Name']: properties for properties in objects(client).values()}
    assert set(by_name) == {'orders', "file 'audit'"}
    orders = by_name['orders']
    assert (orders['Provider'], orders['Profile'], orders['Reason']) == ('internal', 'order*', '')
    assert assert_balanced(orders['Ledger'])['accepted'] == 0 and orders['QueuedBytes'] == 0
    assert [route['name'] for route in client.routes()] == ['orders', "file 'audit'"]
    # A client that knows no ObjectManager finds them as well.
    (xml,) = client.call('Introspect', interface='org.freedesktop.DBus.Introspectable', path=PATH + '/route')
    for path in (first, second):
        assert f'<node name="{path.rsplit("/", 1)[1]}"' in xml
        (properties,) = client.call('GetAll', '(s)', ROUTE, interface=PROPERTIES, path=path)
        assert properties == objects(client)[path]


def test_objects_come_and_go_with_their_routes(evbusd, client):
    daemon = evbusd('internal: {first: {}, second: {}, third: {}}')
    before = {properties['Profile']: path for path, properties in objects(client).items()}
    news = []
    client.connection.signal_subscribe(NAME, OBJECTS, None, PATH, None, Gio.DBusSignalFlags.NONE,
                                       lambda *arguments: news.append((arguments[4], arguments[5].unpack())))
    client.owner()
    reload(daemon, client, 'internal: {third: {}, fourth: {}, first: {}}')
    after = {properties['Profile']: path for path, properties in objects(client).items()}
    # A place in the list is no matter: it is the same object.
    assert set(after) == {'first', 'third', 'fourth'}
    assert (after['first'], after['third']) == (before['first'], before['third'])
    assert after['fourth'] not in before.values()
    iterate_until(lambda: len(news) == 2, 'both to be told')
    assert news[0] == ('InterfacesRemoved', (before['second'], [ROUTE]))
    assert news[1][0] == 'InterfacesAdded' and news[1][1][0] == after['fourth']
    assert news[1][1][1][ROUTE]['Profile'] == 'fourth'


def test_an_orphan_has_no_object(evbusd, client):
    daemon = evbusd('internal: {default: {}}\nsink: {sick: {mode: broken}}')
    client.put('k', BODY, 'sick')
    assert len(objects(client)) == 2
    reload(daemon, client, 'internal: {default: {}}')
    wait_for(lambda: [route['state'] for route in client.routes()] == ['running', 'orphaned'], 'the orphan')
    assert [properties['Provider'] for properties in objects(client).values()] == ['internal']


def test_changes_are_told_at_most_once_a_second(evbusd, client):
    evbusd('internal: {default: {}}')
    client.wait_running(1)
    start = time.monotonic()
    route, manager = Listener(client, next(iter(objects(client)))), Listener(client, PATH)
    n_put = 0
    while time.monotonic() < start + 3.2:
        client.call('PutMany', '(a(svs))', [('k', BODY, '')] * 10)
        n_put += 10
    # The last of them is not left out.
    for listener in (route, manager):
        ledger = listener.wait('Ledger', lambda ledger: ledger['delivered'] == n_put)
        assert ledger == client.ledger() and assert_balanced(ledger)
        assert 2 <= len(listener.told) <= time.monotonic() - start + 1, listener.told


def test_what_is_not_routed_is_told(evbusd, client):
    evbusd('internal: {default: {}}')
    client.wait_running(1)
    manager = Listener(client, PATH)
    client.put('k', BODY, 'nobody')
    manager.wait('Ledger', lambda ledger: ledger['unrouted'] == 1)
    assert client.property('Ledger') == client.ledger()


def test_what_was_queued_before_the_start_is_told(evbusd, client):
    config = 'sink: {default: {mode: broken}}'
    daemon = evbusd(config)
    client.put('k', BODY)
    daemon.stop()
    evbusd(config)
    wait_for(lambda: client.property('Ledger')['queued'] == 1, 'the totals')
    (path,) = objects(client)
    wait_for(lambda: objects(client)[path]['Ledger']['queued'] == 1, 'the figures of the route')
    assert objects(client)[path]['QueuedBytes'] > 0


def test_a_pause(evbusd, client, folder):
    daemon = evbusd(f'file: {{default: {{path: {folder}/a.jsonl}}, "*": {{path: {folder}/b.jsonl}}}}')
    client.wait_running(2)
    listener = Listener(client, path_of(client, "file 'default'"))
    assert client.call('Pause', '(s)', "file 'default'", interface=MANAGER) == (1,)
    assert 'resumed' in listener.wait('Reason', bool)
    assert listener.value('State') == 'paused'
    for i in range(10):
        client.put('k', GLib.Variant('i', i))
    # It grows without anything being delivered: by body, names, id, content type, and what a record has beside.
    assert listener.wait('QueuedBytes', lambda size: size == 10 * (1 + 1 + 7 + 36 + 16 + 68))
    listener.wait('Ledger', lambda ledger: ledger['queued'] == 10)
    wait_for(lambda: len(read_events(folder / 'b.jsonl')) == 10, 'the other route')
    assert read_events(folder / 'a.jsonl') == []

    # Other settings of it do not end the pause.
    reload(daemon, client, f'file: {{default: {{path: {folder}/a.jsonl, delivery: {{batch: 3}}}}}}')
    wait_for(lambda: [route['state'] for route in client.routes()] == ['paused'], 'the changed route to be paused')
    assert client.call('Resume', '(s)', '', interface=MANAGER) == (1,)
    wait_for(lambda: len(read_events(folder / 'a.jsonl')) == 10, 'the events')
    assert [event['body'] for event in read_events(folder / 'a.jsonl')] == list(range(10))
    wait_for(lambda: client.routes()[0]['state'] == 'running', 'the route to run')


def test_a_flush(evbusd, client):
    evbusd('sink: {default: {mode: fail-first, count: 1, delivery: {name: s, retry: {min: 1h, max: 1h}}}}')
    client.put('k', BODY)
    wait_for(lambda: client.routes()[0]['state'] == 'retrying', 'the failure')
    assert client.call('Flush', '(s)', 's', interface=MANAGER) == (1,)
    client.wait_ledger(delivered=1)


@pytest.mark.parametrize('method', ['Pause', 'Resume', 'Flush'])
def test_no_route_of_that_name(evbusd, client, method):
    evbusd('internal: {default: {}}')
    for name in ('internal', 'default', "internal 'other'", 'x' * 10000):
        with pytest.raises(CallError, match=ERROR + 'NotFound'):
            client.call(method, '(s)', name, interface=MANAGER)
    assert client.call(method, '(s)', '', interface=MANAGER) == (1,)
