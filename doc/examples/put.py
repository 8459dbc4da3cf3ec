#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import gi

gi.require_version('Evbus', '1')
from gi.repository import Evbus, GLib

broker = Evbus.Broker()
route = broker.add_route('internal', 'order*', None)
broker.start()

body = GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)})
broker.put_nowait('order.created', body, 'orders')

event = route.get_mailbox().get()  # waits for one
print(event.get_id(), event.get_routing_key(), event.get_body().get_data().decode())
