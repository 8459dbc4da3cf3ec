# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd says how its spool is, on the bus and in `evbusctl status`."""

import json
import signal
import socket

import pytest
from gi.repository import GLib

import disk
from evbus_service import MANAGER, NAME, PATH, CallError, iterate_until, program, wait_for

BODY = GLib.Variant('s', 'x' * 10000)


@pytest.fixture
def spool(folder):
    path = folder / 'spool'
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def heard(client):
    """The changes of SpoolCondition that were signalled."""
    conditions = []

    def on_changed(_connection, _sender, _path, _interface, _signal, parameters):
        changed = parameters.unpack()[1]
        if 'SpoolCondition' in changed:
            conditions.append(changed['SpoolCondition'])

    client.connection.signal_subscribe(NAME, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', PATH, MANAGER, 0,
                                       on_changed)
    return conditions


def start(evbusd, spool, **env):
    return evbusd('internal: {default: {}}', arguments=['--session', '--spool', str(spool)], env=env)


def says(evbusctl, condition, *texts):
    """That it is so, to a person and to a program."""
    status = json.loads(evbusctl('status', '--json').stdout)
    assert status['spool_condition'] == condition
    [line] = [line for line in evbusctl('status').stdout.splitlines() if line.startswith('spool: ')]
    assert line == f'spool: {condition}' + (f': {status["spool_note"]}' if texts else '')
    for text in texts:
        assert text in line


def test_a_sound_one(evbusd, client, evbusctl, spool):
    start(evbusd, spool)
    says(evbusctl, 'intact')
    assert client.property('SpoolCondition') == 'intact' and client.property('SpoolNote') == ''


def test_none(evbusd, evbusctl):
    evbusd('internal: {default: {}}', arguments=['--session', '--no-spool'])
    says(evbusctl, 'none')


def test_one_that_was_set_aside(evbusd, client, evbusctl, spool):
    (spool / 'spool.db').write_text('x' * 10000)
    daemon = start(evbusd, spool)
    client.ledger()     # the name is there before the spool is open
    [aside] = spool.glob('spool.db.damaged-*')
    says(evbusctl, 'recovered', str(aside), '0 events and 0 dead letters were taken over')
    daemon.wait_log(str(aside))


def test_a_full_disk(evbusd, client, evbusctl, spool, heard, folder):
    switch = folder / 'full'
    start(evbusd, spool, **disk.environment(spool, program('evbusd'), fault='enospc@1', switch=switch))
    client.put('k', BODY)
    switch.touch()
    with pytest.raises(CallError, match='SpoolFull'):
        for _ in range(10000):
            client.put('k', BODY)
    iterate_until(lambda: 'full' in heard, 'the signal')
    says(evbusctl, 'full', str(spool / 'spool.db'), 'delete something')
    switch.unlink()
    iterate_until(lambda: heard[-1] == 'intact', 'the signal')
    says(evbusctl, 'intact')
    client.put('k', BODY)


def test_a_failing_disk(evbusd, client, evbusctl, spool, heard, folder):
    switch = folder / 'broken'
    start(evbusd, spool, **disk.environment(spool, program('evbusd'), fault='eio@30:sync', switch=switch))
    switch.touch()
    with pytest.raises(CallError, match='SpoolFailed'):
        for _ in range(40):
            client.put('k', BODY)
    iterate_until(lambda: 'failed' in heard, 'the signal')
    says(evbusctl, 'failed', str(spool / 'spool.db'))
    switch.unlink()

    def again():
        try:
            return client.put('k', BODY)
        except CallError:
            return None

    wait_for(again, 'the spool to take events again')
    iterate_until(lambda: heard[-1] == 'intact', 'the signal')


# ---- A recovery

N_EVENTS = 100000


@pytest.fixture
def manager(folder):
    """receive() gives what evbusd tells the service manager next."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / 'manager'))
        listener.settimeout(60)
        yield lambda: listener.recv(1000).decode()


@pytest.fixture
def damaged(evbusd, client, held, spool):
    """restart() starts evbusd with a spool that it has to recover: it takes a while."""
    arguments = ['--session', '--spool', str(spool)]
    daemon = evbusd(held.config, arguments=arguments)
    for i in range(0, N_EVENTS, 1000):
        client.call('PutMany', '(a(svs))', [('k', GLib.Variant('s', f'{n:01000}'), '') for n in range(i, i + 1000)])
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    (spool / 'damaged').touch(mode=0o600)
    wait_for(lambda: client.owner() is None, 'the name to be free')

    def restart(**env):
        return evbusd(held.config, arguments=arguments, env=env, start=False).spawn()

    return restart


def until(manager, state):
    """What it is told, up to this."""
    states = [manager()]
    while states[-1] != state:
        states.append(manager())
    return states


def test_it_is_asked_to_stop_while_it_recovers(damaged, client, held, spool, manager, folder):
    """It hears it, and what was stored is there as before. It says that it goes on, and is not on the bus."""
    daemon = damaged(NOTIFY_SOCKET=str(folder / 'manager'))
    state = manager()
    while 'STATUS=what can be read of a damaged spool is recovered' not in state:
        # It is opened first, as far as that goes.
        assert 'EXTEND_TIMEOUT_USEC=' in state and 'STATUS=it is opened' in state
        state = manager()
    assert 'EXTEND_TIMEOUT_USEC=' in state
    assert client.owner() is None
    daemon.signal(signal.SIGTERM)
    until(manager, 'STOPPING=1')
    assert daemon.wait() == 0, daemon.log()
    assert 'ready on the bus' not in daemon.log() and 'taken over' not in daemon.log()
    assert not list(spool.glob('spool.db.damaged-*'))

    held.let()
    daemon = damaged(NOTIFY_SOCKET=str(folder / 'manager'))
    until(manager, 'READY=1')
    assert client.property('SpoolCondition') == 'recovered'
    client.wait_ledger(accepted=N_EVENTS, delivered=N_EVENTS)
    assert [int(event['body']) for event in held.events()] == list(range(N_EVENTS))
    daemon.stop()
    assert until(manager, 'STOPPING=1') == ['STOPPING=1']
