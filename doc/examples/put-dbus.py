#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts one event through the service, and prints its id."""
from gi.repository import Gio, GLib

bus = Gio.bus_get_sync(Gio.BusType.SESSION)
body = GLib.Variant('a{sv}', {'id': GLib.Variant('i', 44), 'from': GLib.Variant('s', 'Python')})
answer = bus.call_sync('org.evbus1', '/org/evbus1', 'org.evbus1.Broker', 'Put',
                       GLib.Variant('(svs)', ('order.created', body, 'default')),
                       GLib.VariantType('(s)'), Gio.DBusCallFlags.NONE, -1, None)
print(answer.unpack()[0])
