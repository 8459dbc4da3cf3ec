# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that owns org.evbus1 and misbehaves: fake_evbus.py WAY.

silent    answers nothing
reverse   answers ten puts at a time, the last first
full      takes 300 puts, and then says QueueFull
vanish    takes 300 puts, and leaves the bus at the next
hostile   sends a subscriber events that are not nice to a terminal
leave     accepts a subscription, and leaves the bus
stranger  has no interface of evbus
batches   says that it writes values as JSON, refuses those that are "bad", and tells in an id how the event came
long      drops dead letters until that is cancelled, or for ever if the route is "deaf"; then "broken" has an error

Prints "ready" once it has the name."""

import json
import os
import pathlib
import sys

from gi.repository import Gio, GLib

NAME = 'org.evbus1'
PATH = '/org/evbus1'

EVENTS = [
    ('plain', GLib.Variant('a{sv}', {'null': GLib.Variant('g', ''), 'list': GLib.Variant('av', [])}), {}),
    ('red\x1b[31m\nforged', GLib.Variant('s', 'a\x1b]0;title\x07\u202e\u0085b'), {}),
    ('text', GLib.Variant('ay', b'a text\n'), {'content-type': GLib.Variant('s', 'text/plain'),
                                                'trace': GLib.Variant('s', 'x')}),
    ('bytes', GLib.Variant('ay', b'\xff\x00'), {'content-type': GLib.Variant('s', 'application/msgpack')}),
    ('unsayable', GLib.Variant('ay', b'"\\u0000"'), {'content-type': GLib.Variant('s', 'application/json')}),
    ('broken', GLib.Variant('ay', b'{'), {'content-type': GLib.Variant('s', 'application/json')}),
    ('last', GLib.Variant('x', 1), {}),
]


class Fake:
    def __init__(self, way):
        self.way = way
        self.n = 0
        self.held = []
        self.connection = Gio.bus_get_sync(Gio.BusType.SESSION, None)
        if way != 'stranger':
            folder = pathlib.Path(__file__).resolve().parents[2] / 'data'
            for interface in ('Broker', 'Manager'):
                node = Gio.DBusNodeInfo.new_for_xml((folder / f'{NAME}.{interface}.xml').read_text())
                self.connection.register_object(PATH, node.interfaces[0], self.on_call, self.get_property, None)
        Gio.bus_own_name_on_connection(self.connection, NAME, Gio.BusNameOwnerFlags.NONE,
                                       lambda *_: print('ready', flush=True), None)

    def get_property(self, _connection, _sender, _path, _interface, name):
        return GLib.Variant('s', 'json') if self.way == 'batches' and name == 'Serializer' else None

    def on_call(self, connection, sender, _path, _interface, method, parameters, invocation):
        if self.way == 'silent':
            self.held.append(invocation)
        elif method == 'Subscribe':
            invocation.return_value(GLib.Variant('(t)', (7,)))
            if self.way == 'leave':
                connection.flush_sync(None)
                os._exit(0)
            for key, body, attributes in EVENTS:
                event = GLib.Variant('(tsxssva{sv})', (7, 'the-id', 1700000000123456, key, 'default', body, attributes))
                connection.emit_signal(sender, PATH, f'{NAME}.Broker', 'Event', event)
        elif self.way == 'batches':
            self.put_in_batches(invocation, parameters, method)
        elif method == 'PutWithOptions':
            self.put(invocation, parameters)
        elif method == 'Unsubscribe':
            invocation.return_value(None)
        elif method == 'DropDead':
            self.held.append((invocation, parameters.unpack()[0]))
            self.tell_progress(sender, 3)
        elif method == 'CancelDead':
            invocation.return_value(None)
            for held, route in self.held:
                if route == 'deaf':
                    self.tell_progress(sender, 4)
                elif route == 'broken':
                    held.return_dbus_error(f'{NAME}.Error.SpoolFailed', 'the spool is gone')
                else:
                    held.return_value(GLib.Variant('(t)', (4,)))

    def tell_progress(self, receiver, done):
        self.connection.emit_signal(receiver, PATH, f'{NAME}.Manager', 'DeadProgress', GLib.Variant('(tt)', (done, 10)))

    def put_in_batches(self, invocation, parameters, method):
        if method == 'PutMany':
            bodies = [json.dumps(event[1]) for event in parameters.unpack()[0]]
        else:
            bodies = [bytes(parameters.get_child_value(1).get_variant().unpack()).decode()]
        if '"bad"' in bodies:
            invocation.return_dbus_error(f'{NAME}.Error.InvalidBody', f'event {bodies.index(json.dumps("bad"))}: it is bad')
        elif method == 'PutMany':
            invocation.return_value(GLib.Variant('(as)', ([f'many-{body}' for body in bodies],)))
        else:
            invocation.return_value(GLib.Variant('(s)', (f'one-{bodies[0]}',)))

    def put(self, invocation, parameters):
        self.n += 1
        if self.way == 'reverse':
            body = bytes(parameters.get_child_value(1).get_variant().unpack()).decode()
            self.held.append((invocation, f'id-{body}'))
            if len(self.held) == 10:
                while self.held:
                    held, event_id = self.held.pop()
                    held.return_value(GLib.Variant('(s)', (event_id,)))
        elif self.n <= 300:
            invocation.return_value(GLib.Variant('(s)', (f'id-{self.n}',)))
        elif self.way == 'full':
            invocation.return_dbus_error(f'{NAME}.Error.QueueFull', 'no space within 10 s')
        else:
            self.connection.flush_sync(None)
            os._exit(0)


if __name__ == '__main__':
    fake = Fake(sys.argv[1])
    GLib.MainLoop().run()
