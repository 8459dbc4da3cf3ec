# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd with one route, to a destination of its own on the server of a provider."""

import json

from gi.repository import GLib

from evbus_service import MANAGER, assert_balanced, wait_for

DEADLINE = 60
# A call of many events, below the limits of a message.
MANY = 250


def body_of(n):
    """A body, and the bytes that come of it."""
    value = {'n': n, 'text': f'Grüße "{n}"\n'}
    variant = GLib.Variant('a{sv}', {'n': GLib.Variant('i', n), 'text': GLib.Variant('s', value['text'])})
    return variant, json.dumps(value, separators=(',', ':'), ensure_ascii=False).encode()


def outcome_of(route):
    """What became of the one event that it was given, or the state of the route."""
    return next((name for name in ('dead', 'delivered') if route['ledger'][name]), route['state'])


def wait_outcomes(client, expected):
    """Waits until the routes have these outcomes; returns the routes as they were in that look."""
    expected = list(expected)

    def reached():
        routes = client.routes()
        return routes if [outcome_of(route) for route in routes] == expected else None

    try:
        return wait_for(reached, f'the outcomes {expected}', DEADLINE)
    except AssertionError as error:
        raise AssertionError(f'{error}; there are {[outcome_of(route) for route in client.routes()]}') from None


class Trial:
    def __init__(self, adaptor, evbusd, client, destination, folder):
        self.adaptor = adaptor
        # Under which the profile stands: an alias, too.
        self.provider = adaptor.name
        self.destination = destination
        self.client = client
        self.daemon = None
        self._evbusd = evbusd
        self._spool = folder / 'spool'
        # What was put, in order: (id, bytes).
        self.sent = []

    def config(self, options, delivery=None, broker=None):
        delivery = {'retry': {'min': '20ms', 'max': '200ms'}, **(delivery or {})}
        # What is undelivered at the end of a test is not waited for.
        broker = {'stop_timeout': '100ms', **(broker or {})}
        return json.dumps({'evbus': broker, self.provider: {'default': {**options, 'delivery': delivery}}})

    def start(self, options=None, prepare=True, **settings):
        """Starts evbusd; options: of the profile, else those of the plain port; prepare: not
        where the destination is there already, and the server is not."""
        if options is None:
            options = self.adaptor.options(self.destination)
        if prepare:
            self.adaptor.prepare(self.destination)
        self.daemon = self._evbusd(self.config(options, **settings),
                                   arguments=['--session', '--spool', str(self._spool)])
        return self

    def reconfigure(self, options, **settings):
        self.daemon.config.write_text(self.config(options, **settings))
        self.client.call('Reload', interface=MANAGER)

    def manage(self, method):
        """Pause, Resume or Flush."""
        self.client.call(method, '(s)', '', interface=MANAGER)

    def put(self, n):
        """Puts that many events with bodies that differ."""
        for start in range(0, n, MANY):
            bodies = [body_of(len(self.sent) + i) for i in range(min(MANY, n - start))]
            (ids,) = self.client.call('PutMany', '(a(svs))', [('order.created', variant, 'default') for variant, _ in bodies])
            self.sent += zip(ids, (data for _, data in bodies))

    def put_bytes(self, data, content_type='application/octet-stream', key='order.created', event_id=None, **attributes):
        """Puts bytes as they are; returns the id."""
        options = {'content-type': GLib.Variant('s', content_type)}
        if event_id is not None:
            options['id'] = GLib.Variant('s', event_id)
        if attributes:
            options['attributes'] = GLib.Variant('a{ss}', attributes)
        (event_id,) = self.client.call('PutWithOptions', '(svsa{sv})', key, GLib.Variant.new_from_bytes(
            GLib.VariantType('ay'), GLib.Bytes(data), True), 'default', options)
        self.sent.append((event_id, data))
        return event_id

    def route(self):
        return self.client.routes()[0]

    def wait_state(self, state, reason=''):
        """Waits until the route is in that state, with that in its reason; returns the reason."""
        def reached():
            # Of one look: it may be in another state at the next.
            route = self.route()
            return route if route['state'] == state and reason in route['reason'] else None

        try:
            return wait_for(reached, f'the route to be {state}: {reason}', DEADLINE)['reason']
        except AssertionError as error:
            raise AssertionError(f'{error}; it is {self.route()}') from None

    def wait_ledger(self, **figures):
        """Waits until the route's ledger has these figures, and returns it; it balances."""
        def reached():
            ledger = self.route()['ledger']
            return ledger if all(ledger[name] >= n for name, n in figures.items()) else None

        try:
            ledger = wait_for(reached, f'the ledger to have {figures}', DEADLINE)
        except AssertionError as error:
            raise AssertionError(f'{error}; it is {self.route()}\n{self.daemon.log()}') from None
        assert {name: ledger[name] for name in figures} == figures
        return assert_balanced(ledger)

    def wait_delivered(self):
        """Waits until all that was put is delivered, and nothing else came of it."""
        n = len(self.sent)
        return self.wait_ledger(accepted=n, delivered=n, dead=0, expired=0, dropped=0, queued=0)

    def dead_letters(self):
        """As ListDead gives them; what has died stands there a moment later."""
        return self.client.call('ListDead', '(sxu)', '', 0, 100, interface=MANAGER)[0]

    def told(self):
        """All that evbusd says, in its log and, while it runs, on D-Bus."""
        told = self.daemon.log()
        if self.daemon.process.poll() is None:
            told += repr(self.client.routes()) + repr(self.dead_letters())
        return told

    def received(self):
        return self.adaptor.read(self.destination)

    def assert_received_once(self):
        """All there, in order, once, the bytes equal."""
        assert [(event.id, event.body) for event in self.received()] == self.sent

    def assert_nothing_lost(self):
        """All there, in order, though some may have come again: with the same id and bytes."""
        known = dict(self.sent)
        seen = {}
        for event in self.received():
            assert event.body == known[event.id]
            seen.setdefault(event.id, event)
        assert list(seen) == [event_id for event_id, _ in self.sent]
