# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd: puts that wait for their delivery, and the signal that says what became of an event."""

import signal

import pytest
from gi.repository import Gio, GLib

from evbus_service import BROKER, ERROR, NAME, PATH, CallError, iterate_until, wait_for

BODY = GLib.Variant('i', 42)
SPOOLS = pytest.mark.parametrize('spool', [['--session'], ['--session', '--no-spool']], ids=['spool', 'memory'])


def raises(name, says):
    return pytest.raises(CallError, match='^' + (ERROR + name).replace('.', r'\.') + ':.*' + says)


class Follower:
    """Puts with options, and what was told of it: (id, route, fate, reason, left)."""

    def __init__(self, client):
        self.client = client
        self.told = []
        client.connection.signal_subscribe(NAME, BROKER, 'Settled', PATH, None, Gio.DBusSignalFlags.NO_MATCH_RULE,
                                           lambda *arguments: self.told.append(arguments[5].unpack()))

    def start(self, key='k', profile='', **options):
        types = {'id': 's', 'wait': 's', 'follow': 'b', 'timeout': 'u', 'max_age': 't'}
        options = {name.replace('_', '-'): GLib.Variant(types[name], value) for name, value in options.items()}
        return self.client.start('PutWithOptions', '(svsa{sv})', key, BODY, profile, options, timeout=90)

    def put(self, **keywords):
        return self.client.finish(self.start(**keywords))

    def wait_told(self, n):
        iterate_until(lambda: len(self.told) >= n, f'{n} signals (have {self.told})')
        assert len(self.told) == n
        return self.told


@pytest.fixture
def follower(client):
    return Follower(client)


@SPOOLS
def test_a_put_waits_for_its_delivery(evbusd, bus, client, follower, held, spool):
    evbusd(held.config, arguments=spool)
    stranger = Follower(bus.client())
    waiting = follower.start(id='mine', wait='delivered', timeout=60000, follow=True)
    client.wait_ledger(accepted=1, queued=1)
    # What the same sender puts after it is not held up.
    plain = client.put('k', BODY)
    client.wait_ledger(accepted=2, queued=2)
    assert not waiting and not follower.told

    held.let()
    assert client.finish(waiting) == ('mine',)
    client.wait_ledger(accepted=2, delivered=2)
    assert [event['id'] for event in held.events()] == ['mine', plain]
    assert follower.wait_told(1) == [('mine', "file 'default'", 'delivered', '', 0)]
    stranger.put()
    assert not stranger.told


TWO = """
sink: {"*": {mode: confirm, poison_key: bad}}
file: {"*both": {path: FOLDER/events.jsonl}}
"""


@SPOOLS
def test_one_that_gives_it_up_is_named(evbusd, client, follower, folder, spool):
    evbusd(TWO.replace('FOLDER', str(folder)), arguments=spool)
    assert follower.put(id='good', profile='both', wait='delivered') == ('good',)
    with raises('Undelivered', "event 'bad-1' is dead at route sink '\\*': .*poison_key"):
        follower.put(id='bad-1', key='bad', profile='both', wait='delivered', follow=True)
    told = follower.wait_told(2)
    assert sorted(news[1:4] for news in told) == [
        ("file '*both'", 'delivered', ''), ("sink '*'", 'dead', 'the routing key is that of poison_key')]
    assert [news[4] for news in told] == [1, 0]
    # Once more: the same answer, and no second event.
    with raises('Undelivered', "'bad-1' is dead at route sink"):
        follower.put(id='bad-1', key='bad', profile='both', wait='delivered')
    client.wait_ledger(accepted=4, delivered=3, dead=1)


@SPOOLS
def test_the_time_ends_the_waiting_alone(evbusd, client, follower, held, spool):
    evbusd(held.config, arguments=spool)
    with raises('TimedOut', "event 'late' .* 100 ms; it stays accepted: route file 'default' has it"):
        follower.put(id='late', wait='delivered', timeout=100)
    again = follower.start(id='late', wait='delivered', timeout=60000)
    client.ledger()
    assert not again
    held.let()
    assert client.finish(again) == ('late',)
    client.wait_ledger(accepted=1, delivered=1)


@SPOOLS
def test_what_expires(evbusd, client, follower, held, spool):
    evbusd(held.config, arguments=spool)
    with raises('Undelivered', "event 'old' (expired|is dead) at route file 'default': it grew older"):
        follower.put(id='old', wait='delivered', timeout=60000, max_age=200)
    client.wait_ledger(queued=0)


def test_nothing_to_wait_for(evbusd, client, follower):
    evbusd('internal: {some: {}}')
    assert follower.put(id='none', profile='other', wait='delivered', follow=True) == ('none',)
    assert follower.wait_told(1) == [('none', '', 'unrouted', '', 0)]
    client.wait_ledger(accepted=0, unrouted=1)


def test_following_without_waiting(evbusd, client, follower, held):
    evbusd(held.config)
    assert follower.put(id='mine', follow=True) == ('mine',)
    assert follower.put(id='other', follow=False) == ('other',)
    assert not follower.told
    held.let()
    assert follower.wait_told(1) == [('mine', "file 'default'", 'delivered', '', 0)]
    client.wait_ledger(accepted=2, delivered=2)


def test_options_that_cannot_be(evbusd, client, follower):
    evbusd('internal: {default: {}}')
    for options in ({'follow': GLib.Variant('s', ':1.1')}, {'wait': GLib.Variant('s', 'deliverd')},
                    {'wait': GLib.Variant('b', True)}, {'timeout': GLib.Variant('s', ''), 'wait': GLib.Variant('s', 'delivered')}):
        with raises('InvalidArgument', next(iter(options))):
            client.call('PutWithOptions', '(svsa{sv})', 'k', BODY, '', options)
    client.wait_ledger(accepted=0)


def test_a_crash_while_waiting(evbusd, client, follower, held):
    daemon = evbusd(held.config)
    waiting = follower.start(id='mine', wait='delivered', timeout=60000, follow=True)
    client.wait_ledger(queued=1)
    daemon.signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    with pytest.raises(CallError, match='NoReply'):
        client.finish(waiting)
    wait_for(lambda: client.owner() is None, 'the name to be free')

    evbusd(held.config)
    again = follower.start(id='mine', wait='delivered', timeout=60000, follow=True)
    client.wait_ledger(accepted=1, queued=1)
    assert not again
    held.let()
    assert client.finish(again) == ('mine',)
    assert follower.wait_told(1) == [('mine', "file 'default'", 'delivered', '', 0)]
    assert [event['id'] for event in held.events()] == ['mine']
    client.wait_ledger(accepted=1, delivered=1)


def test_a_stop_while_waiting(evbusd, client, follower, held):
    daemon = evbusd('evbus: {stop_timeout: 100ms}\n' + held.config)
    waiting = follower.start(id='mine', wait='delivered', timeout=60000)
    client.wait_ledger(queued=1)
    daemon.stop()
    with raises('Closed', "event 'mine' stays in the spool: route file 'default' has it"):
        client.finish(waiting)
    held.let()
    evbusd(held.config)
    assert follower.put(id='mine', wait='delivered', timeout=60000) == ('mine',)
    client.wait_ledger(accepted=1, delivered=1)
    assert len(held.events()) == 1


def test_a_sender_that_leaves(evbusd, bus, client, held):
    evbusd(held.config)
    leaving = bus.client()
    Follower(leaving).start(id='mine', wait='delivered', timeout=60000, follow=True)
    client.wait_ledger(queued=1)
    leaving.close()
    held.let()
    client.wait_ledger(accepted=1, delivered=1)
    assert [event['id'] for event in held.events()] == ['mine']


def test_the_order_of_a_sender_without_a_spool(evbusd, client, follower, held):
    """One that waits for its delivery has its turn behind those that wait for space."""
    evbusd(held.config[:-2] + ', delivery: {overflow: block, window: {events: 1}}}}', arguments=['--session', '--no-spool'])
    started = [client.start('Put', '(svs)', 'k', GLib.Variant('i', i), '') for i in range(3)]
    started.append(follower.start(id='waits', wait='delivered', timeout=60000))
    started.append(client.start('Put', '(svs)', 'k', GLib.Variant('i', 4), ''))
    client.wait_ledger(accepted=1, queued=1)
    held.let()
    ids = [client.finish(answer)[0] for answer in started]
    client.wait_ledger(accepted=5, delivered=5)
    assert [event['id'] for event in held.events()] == ids and ids[3] == 'waits'
