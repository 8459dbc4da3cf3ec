# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.evbus1.Manager, and the configuration."""

import pathlib
import re
import signal
import time

import pytest
from gi.repository import GLib

from evbus_service import ERROR, MANAGER, CallError, assert_balanced, read_events, source_root, wait_for

BODY = GLib.Variant('i', 1)


def reload(client):
    return client.call('Reload', interface=MANAGER)


def test_list_routes(evbusd, client, folder):
    evbusd(f'internal: {{default: {{}}}}\nfile: {{"order*": {{path: {folder}/o.jsonl}}}}')
    client.put('k', BODY, 'orders')
    client.wait_ledger(delivered=1)
    internal, file = client.routes()
    assert (internal['provider'], internal['profile']) == ('internal', 'default')
    assert (file['provider'], file['profile'], file['state'], file['reason']) == ('file', 'order*', 'running', '')
    assert assert_balanced(file['ledger'])['delivered'] == 1
    assert assert_balanced(internal['ledger'])['accepted'] == 0


def test_explain(evbusd, client):
    evbusd('internal: {"order*": {}, default: {}}')
    (answers,) = client.call('Explain', '(s)', 'orders', interface=MANAGER)
    assert [answer[:3] for answer in answers] == [('internal', 'order*', True), ('internal', 'default', False)]
    assert all(answer[3] for answer in answers)
    (answers,) = client.call('Explain', '(s)', '', interface=MANAGER)
    assert [answer[2] for answer in answers] == [False, True]
    with pytest.raises(CallError, match=ERROR + 'InvalidArgument'):
        client.call('Explain', '(s)', 'p' * 256, interface=MANAGER)


def test_properties(evbusd, client):
    daemon = evbusd('internal: {default: {}}')
    assert re.fullmatch(r'\d+\.\d+\.\d+', client.property('Version'))
    assert client.property('Configuration') == str(daemon.config)
    assert abs(client.property('StartTime') / 1e6 - time.time()) < 60


def test_introspection_has_both_interfaces(evbusd, client):
    evbusd('internal: {default: {}}')
    (xml,) = client.call('Introspect', interface='org.freedesktop.DBus.Introspectable')
    for name in ('org.evbus1.Broker', 'org.evbus1.Manager', 'PutMany', 'Unsubscribe', 'Reload'):
        assert f'"{name}"' in xml


def test_reload_adds_removes_and_keeps(evbusd, client, folder):
    daemon = evbusd('internal: {kept: {}, removed: {}}')
    client.put('k', BODY, 'kept')
    client.wait_ledger(delivered=1)
    daemon.config.write_text(f'internal: {{kept: {{}}}}\nfile: {{new: {{path: {folder}/new.jsonl}}}}')
    reload(client)
    routes = {(route['provider'], route['profile']): route for route in client.routes()}
    assert set(routes) == {('internal', 'kept'), ('file', 'new')}
    # It is the same route, with its figures.
    assert routes['internal', 'kept']['ledger']['delivered'] == 1
    client.put('k', BODY, 'new')
    wait_for(lambda: read_events(folder / 'new.jsonl'), 'the new route to deliver')


def test_a_bad_configuration_changes_nothing_and_every_mistake_is_told(evbusd, client):
    daemon = evbusd('internal: {default: {}}')
    before = client.wait_running(1)
    daemon.config.write_text('internal: {default: {max_evens: 1}}\nfile: {default: {}}\n')
    with pytest.raises(CallError, match=ERROR + 'InvalidConfig') as caught:
        reload(client)
    assert "max_evens" in caught.value.message and "max_events" in caught.value.message
    assert 'path' in caught.value.message
    assert re.search(r'profiles-0\.yaml:1:\d+', caught.value.message)
    assert len(caught.value.message.splitlines()) == 2
    assert client.routes() == before
    client.put('k', BODY)
    client.wait_ledger(delivered=1)
    daemon.wait_log('the old one stays')
    # Mended, it is taken.
    daemon.config.write_text('internal: {default: {max_events: 1}}')
    reload(client)


@pytest.mark.parametrize('text', ['', '{}', 'match_plugin: glob', 'evbus: {}', 'internal: {}', '{', 'internal: {default: {}}\ninternal: {default: {}}', '\x00\x01', '- a\n- b\n'])
def test_no_configuration_at_all_is_refused_on_reload(evbusd, client, text):
    daemon = evbusd('internal: {default: {}}')
    daemon.config.write_text(text)
    with pytest.raises(CallError, match=ERROR + 'InvalidConfig'):
        reload(client)
    assert len(client.routes()) == 1


def test_sighup_reloads(evbusd, client):
    daemon = evbusd('internal: {default: {}}')
    daemon.config.write_text('internal: {first: {}, second: {}}')
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: len(client.routes()) == 2, 'the new routes')
    daemon.config.write_text('internal: {first: {}, second: {}, third: []')
    daemon.signal(signal.SIGHUP)
    daemon.wait_log('the old one stays')
    assert len(client.routes()) == 2


def test_events_under_way_survive_a_reload(evbusd, client, folder):
    path = folder / 'all.jsonl'
    config = f'file: {{default: {{path: {path}}}}}\ninternal: {{n%d: {{}}}}'
    daemon = evbusd(config % 0)
    for i in range(20):
        client.start('PutMany', '(a(svs))', [('k', GLib.Variant('i', i * 100 + n), '') for n in range(100)])
        daemon.config.write_text(config % i)
        reload(client)
    wait_for(lambda: len(read_events(path)) == 2000, 'all the events')
    assert [event['body'] for event in read_events(path)] == list(range(2000))
    assert_balanced(client.ledger())


def test_the_ledger_of_a_route_that_fails_balances(evbusd, client):
    daemon = evbusd('evbus: {stop_timeout: 100ms}\nsink: {default: {mode: poison}, other: {mode: broken}}')
    for i in range(10):
        client.put('k', BODY)
    client.put('k', BODY, 'other')
    client.wait_ledger(accepted=11, dead=10, queued=1)
    wait_for(lambda: client.routes()[1]['state'] == 'broken', 'the route to be broken')
    assert client.routes()[1]['reason']
    daemon.wait_log('was not delivered')
    daemon.wait_log("[route sink 'other']")


def test_a_missing_plugin_hurts_its_own_route_alone(evbusd, client):
    daemon = evbusd('internal: {default: {}}\nabsent: {default: {topic: t}}')
    internal, absent = client.wait_running(1)
    assert internal['state'] == 'running'
    assert absent['state'] == 'failed' and 'absent' in absent['reason']
    client.put('k', BODY)
    client.wait_ledger(delivered=1, queued=1)
    daemon.wait_log("'absent'")
    daemon.stop()


def test_the_configuration_is_looked_for(evbusd, client, folder, environment):
    default = evbusd(start=False)
    default.start()
    assert client.property('Configuration') == ''
    assert [(route['provider'], route['profile']) for route in client.routes()] == [('internal', '*')]
    default.wait_log('embedded default')

    # One that appears is found by a reload.
    config = pathlib.Path(environment['XDG_CONFIG_HOME']) / 'evbus'
    config.mkdir()
    (config / '10-first.yaml').write_text('internal: {first: {}}')
    (config / '20-second.json').write_text('{"internal": {"second": {}}}')
    reload(client)
    assert client.property('Configuration') == str(config)
    assert [route['profile'] for route in client.routes()] == ['first', 'second']
    default.stop()

    (folder / 'env.yaml').write_text('internal: {variable: {}}')
    by_variable = evbusd(env={'EVBUS_CONFIG': str(folder / 'env.yaml')})
    assert [route['profile'] for route in client.routes()] == ['variable']
    by_variable.stop()

    evbusd('internal: {option: {}}', env={'EVBUS_CONFIG': str(folder / 'env.yaml')})
    assert [route['profile'] for route in client.routes()] == ['option']


def test_a_configuration_that_is_gone_changes_nothing(evbusd, client, folder, environment):
    """An editor may be at it; only a start takes the embedded default instead."""
    config = pathlib.Path(environment['XDG_CONFIG_HOME'], 'evbus')
    config.mkdir(parents=True)
    (config / 'a.yaml').write_text(f'file: {{default: {{path: {folder}/out}}}}')
    evbusd()
    (config / 'a.yaml').rename(config / 'a.yaml~')
    with pytest.raises(CallError, match=f'InvalidConfig: {config}: .* not there any more'):
        reload(client)
    assert [route['provider'] for route in client.routes()] == ['file']
    (config / 'a.yaml~').rename(config / 'b.yaml')
    reload(client)



@pytest.mark.parametrize('name', ['local.yaml', 'two-copies.json'])
def test_the_example_profiles_are_right(evbusd, client, folder, name):
    text = (source_root() / 'data' / 'profiles' / name).read_text()
    for path in ('/var/log/evbus', '/var/lib/evbus'):
        text = text.replace(path, str(folder))
    evbusd(text)
    client.wait_running(len(client.routes()))


def test_the_bus_sees_what_the_xml_says(evbusd, client):
    """The interfaces in data/ are the contract."""
    import xml.etree.ElementTree as ET
    evbusd('internal: {default: {}}')
    (text,) = client.call('Introspect', interface='org.freedesktop.DBus.Introspectable')
    served = {node.get('name'): node for node in ET.fromstring(text).iter('interface')}
    (path,) = client.call('GetManagedObjects', interface='org.freedesktop.DBus.ObjectManager')[0]
    (text,) = client.call('Introspect', interface='org.freedesktop.DBus.Introspectable', path=path)
    served |= {node.get('name'): node for node in ET.fromstring(text).iter('interface')}
    for name in ('Broker', 'Manager', 'Route'):
        contract = ET.parse(source_root() / 'data' / f'org.evbus1.{name}.xml').getroot().find('interface')
        for kind in ('method', 'signal', 'property'):
            def signatures(interface):
                return {node.get('name'): [arg.get('type') for arg in node.iter('arg')] or node.get('type')
                        for node in interface.iter(kind)}
            assert signatures(served[f'org.evbus1.{name}']) == signatures(contract)
