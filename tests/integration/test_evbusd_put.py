# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.evbus1.Broker: Put and its siblings."""

from gi.repository import GLib

from evbus_service import read_events

CONFIG = '''
internal: {default: {}}
file:
  default: {path: %s}
'''


def test_put_reaches_the_file_route(evbusd, client, folder):
    path = folder / 'events.jsonl'
    evbusd(CONFIG % path)
    event_id = client.put('order.created', GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)}), 'default')
    client.wait_ledger(accepted=2, delivered=2)
    (event,) = read_events(path)
    assert event['id'] == event_id
    assert event['routing_key'] == 'order.created'
    assert event['profile'] == 'default'
    assert event['body'] == {'id': 42}
    assert event['time']
