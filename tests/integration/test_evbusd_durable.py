# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd with its spool: what it has answered outlives it."""

import os
import signal
import sqlite3
import stat
import time

import pytest
from gi.repository import GLib

import disk
from evbus_service import ERROR, Bus, CallError, program, read_events, wait_for

BODY = GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)})


def raises(name):
    return pytest.raises(CallError, match='^' + (ERROR + name).replace('.', r'\.') + ':')


def crash(daemon):
    daemon.signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL


def gone(client):
    wait_for(lambda: client.owner() is None, 'the name to be free')


def test_what_was_answered_is_delivered_after_a_crash(evbusd, client, held):
    daemon = evbusd(held.config)
    ids = [client.put('k', GLib.Variant('i', i)) for i in range(3)]
    ids += client.call('PutMany', '(a(svs))', [('k', GLib.Variant('i', i), '') for i in range(3, 100)])[0]
    ids.append(client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('i', 100), '', {})[0])
    crash(daemon)
    gone(client)

    held.let()
    evbusd(held.config)
    client.wait_ledger(accepted=101, delivered=101)
    assert [event['id'] for event in held.events()] == ids
    assert [event['body'] for event in held.events()] == list(range(101))


def test_what_is_counted_for_no_route_survives_a_crash(evbusd, client, folder):
    """It has no event with which it would be stored."""
    spool = folder / 'spool'
    config, arguments = 'internal: {mine: {}}', ['--session', '--spool', str(spool)]
    daemon = evbusd(config, arguments=arguments)
    for _ in range(3):
        client.put('k', BODY, 'nobodys')
    assert client.ledger()['unrouted'] == 3

    def stored():
        with sqlite3.connect(f'file:{spool}/spool.db?mode=ro', uri=True) as db:
            [(numbers,)] = db.execute('SELECT pending FROM route WHERE route_id = 0').fetchall() or [(b'',)]
        return numbers[:8] == (3).to_bytes(8, 'little')

    wait_for(stored, 'the count to be stored')
    crash(daemon)
    gone(client)

    evbusd(config, arguments=arguments)
    assert client.ledger()['unrouted'] == 3
    client.put('k', BODY, 'nobodys')
    assert client.ledger()['unrouted'] == 4


def test_calls_under_way_at_a_crash(evbusd, client, bus, folder):
    """A PutMany is there as a whole or not at all, and there if it was answered."""
    path = folder / 'events.jsonl'
    config = f'file: {{default: {{path: {path}}}}}'
    answers = []
    for turn in range(5):
        daemon = evbusd(config)
        caller = bus.client()
        started = [caller.start('PutMany', '(a(svs))', [('k', GLib.Variant('s', f'{turn}.{i}'), '')] * 7)
                   for i in range(200)]
        caller.finish(started[10 * turn])     # the others are in whatever state they are in
        crash(daemon)
        for answer in started:
            try:
                answers.append(caller.finish(answer)[0])
            except CallError as error:
                # The second where the bus got the call only after that.
                assert error.name in ('org.freedesktop.DBus.Error.NoReply', 'org.freedesktop.DBus.Error.NameHasNoOwner'), error
        gone(client)

    evbusd(config)
    client.wait_ledger(queued=0)
    delivered = {}
    for event in read_events(path):
        delivered.setdefault(event['body'], set()).add(event['id'])
    assert {len(ids) for ids in delivered.values()} == {7}
    every = set().union(*delivered.values())
    assert len(answers) > 5 and all(every.issuperset(answer) for answer in answers)


def test_a_put_from_a_spool_keeps_the_order_of_a_sender(evbusd, client, folder):
    path = folder / 'events.jsonl'
    evbusd(f'file: {{default: {{path: {path}}}}}')
    answers = []
    for i in range(0, 4000, 4):
        values = [GLib.Variant('i', i + n) for n in range(4)]
        answers += [client.start('Put', '(svs)', 'k', values[0], ''),
                    client.start('PutMany', '(a(svs))', [('k', values[1], '')]),
                    client.start('PutNowait', '(svs)', 'k', values[2], ''),
                    client.start('PutWithOptions', '(svsa{sv})', 'k', values[3], '', {})]
    for answer in answers:
        client.finish(answer)
    client.wait_ledger(accepted=4000, delivered=4000)
    assert [event['body'] for event in read_events(path)] == list(range(4000))


def test_a_put_is_done_before_the_bus_says_whether_its_sender_is_there(evbusd, client, bus, folder):
    """Which is asked about one that waits. The bus answers after the put was answered."""
    path, spool = folder / 'events.jsonl', folder / 'spool'
    evbusd(f'file: {{default: {{path: {path}}}}}', arguments=['--session', '--spool', str(spool)])
    client.put('k', BODY)
    client.wait_ledger(delivered=1)
    other = sqlite3.connect(spool / 'spool.db', isolation_level=None)
    wait_for(lambda: locked(other), 'the database')
    waiting = client.start('Put', '(svs)', 'k', BODY, '')
    client.ledger()      # a round trip: it is there
    os.kill(bus.process.pid, signal.SIGSTOP)
    try:
        asked_by = time.monotonic() + 0.5
        # Nothing else tells: the bus, which is asked, does not run.
        wait_for(lambda: time.monotonic() > asked_by, 'it to be asked')
        other.execute('ROLLBACK')
        wait_for(lambda: len(read_events(path)) == 2, 'the put to be done')
    finally:
        os.kill(bus.process.pid, signal.SIGCONT)
        other.close()
    client.finish(waiting)
    client.wait_ledger(accepted=2, delivered=2)


def locked(database):
    try:
        database.execute('BEGIN IMMEDIATE')
        return True
    except sqlite3.OperationalError:
        return False


def test_a_put_waits_for_what_it_is_told_to(evbusd, client, held, folder):
    """The disk fails for good: what waits for it is refused, the other is accepted, and dropped."""
    spool, switch = folder / 'spool', folder / 'broken'
    spool.mkdir(mode=0o700)
    evbusd('sink: {default: {}}', arguments=['--session', '--spool', str(spool)],
           env=disk.environment(spool, program('evbusd'), fault='enospc@1', switch=switch))

    def put(wait):
        return client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('s', 'x' * 500000), '',
                           {'wait': GLib.Variant('s', wait)})

    put('durable')
    client.wait_ledger(accepted=1, delivered=1)
    switch.touch()
    with raises('SpoolFull'):
        for _ in range(100):
            put('durable')
    before = client.wait_ledger(queued=0)
    for _ in range(10):
        put('accepted')
    after = client.wait_ledger(accepted=before['accepted'] + 10, queued=0)
    assert after['dropped'] > before['dropped']
    with raises('InvalidArgument'):
        put('for ever')
    switch.unlink()


def test_nothing_is_durable_without_a_spool(evbusd, client):
    evbusd('internal: {default: {}}', arguments=['--session', '--no-spool'])
    with raises('InvalidArgument'):
        client.call('PutWithOptions', '(svsa{sv})', 'k', BODY, '', {'wait': GLib.Variant('s', 'durable')})
    client.call('PutWithOptions', '(svsa{sv})', 'k', BODY, '', {'wait': GLib.Variant('s', 'accepted')})
    client.wait_ledger(accepted=1, delivered=1)


def test_an_id_is_known_after_a_crash(evbusd, client, held):
    put = ('PutWithOptions', '(svsa{sv})', 'k', BODY, '', {'id': GLib.Variant('s', 'mine')})
    daemon = evbusd(held.config)
    assert client.call(*put) == ('mine',)
    crash(daemon)
    gone(client)
    held.let()
    evbusd(held.config)     # the name is there before the spool is open
    assert client.call(*put) == ('mine',)
    client.wait_ledger(accepted=1, delivered=1)
    assert len(held.events()) == 1


def test_an_orderly_stop_keeps_the_rest(evbusd, client, held):
    daemon = evbusd('evbus: {stop_timeout: 100ms}\n' + held.config)
    client.put('k', BODY)
    daemon.stop()
    held.let()
    evbusd(held.config)
    client.wait_ledger(accepted=1, delivered=1)


# Where it is

def test_the_spool_is_where_state_belongs(evbusd, client, folder):
    evbusd('internal: {default: {}}')
    client.put('k', BODY)
    spool = folder / 'state' / 'evbus'
    assert (spool / 'spool.db').exists()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    assert stat.S_IMODE((spool / 'spool.db').stat().st_mode) == 0o600


@pytest.mark.parametrize('config,arguments,used', [
    ('evbus: {spool: {directory: FOLDER/mine}}\n', [], 'mine'),
    ('evbus: {spool: {directory: FOLDER/mine}}\n', ['--spool', 'other'], 'other'),
    ('evbus: {spool: {directory: none}}\n', ['--spool', 'other'], 'other'),
    ('evbus: {spool: {directory: FOLDER/mine}}\n', ['--no-spool'], None),
    ('evbus: {spool: {directory: none}}\n', [], None),
    ('', ['--no-spool'], None),
])
def test_another_spool_or_none(evbusd, client, folder, config, arguments, used):
    evbusd(config.replace('FOLDER', str(folder)) + 'internal: {default: {}}', arguments=['--session', *arguments])
    client.put('k', BODY)
    client.wait_ledger(delivered=1)
    found = [name for name in ('mine', 'other', 'state/evbus') if (folder / name / 'spool.db').exists()]
    assert found == ([used] if used else [])


def test_a_spool_has_one_process(evbusd, client, folder, environment):
    first = evbusd('internal: {default: {}}')
    client.put('k', BODY)
    other_bus = Bus(folder / 'bus', environment)
    second = evbusd('internal: {default: {}}', arguments=['--address', other_bus.address], start=False).spawn()
    assert second.wait() == 1
    assert f'{folder}/state/evbus' in second.log() and f'{first.process.pid}' in second.log()
    other_bus.stop()
    client.put('k', BODY)
    client.wait_ledger(delivered=2)


# A disk that is full

def test_a_full_disk_refuses_and_recovers(evbusd, client, folder):
    spool, switch, path = folder / 'spool', folder / 'full', folder / 'events.jsonl'
    spool.mkdir(mode=0o700)
    daemon = evbusd(f'file: {{default: {{path: {path}}}}}', arguments=['--session', '--spool', str(spool)],
                    env=disk.environment(spool, program('evbusd'), fault='enospc@1', switch=switch))
    body = GLib.Variant('s', 'x' * 10000)
    accepted = {client.put('k', body)}
    client.wait_ledger(delivered=1)

    switch.touch()
    with raises('SpoolFull'):
        for _ in range(10000):
            accepted.add(client.put('k', body))
    with raises('SpoolFull'):
        client.call('PutMany', '(a(svs))', [('k', body, '')] * 1000)

    switch.unlink()

    def recovered():
        try:
            return client.put('k', body)
        except CallError as error:
            assert error.name == ERROR + 'SpoolFull', error
            return None

    accepted.add(wait_for(recovered, 'the spool to take events again'))
    client.wait_ledger(accepted=len(accepted), delivered=len(accepted))
    assert {event['id'] for event in read_events(path)} == accepted
    daemon.stop()


@pytest.mark.parametrize('fault', ['eio', 'thin'])
def test_a_failing_disk_is_told_apart(evbusd, client, folder, held, fault):
    """Also where it is full, and a sync is the first to know. What was answered is delivered, after a crash too."""
    spool, switch = folder / 'spool', folder / 'broken'
    spool.mkdir(mode=0o700)
    arguments = ['--session', '--spool', str(spool)]
    daemon = evbusd(held.config, arguments=arguments,
                    env=disk.environment(spool, program('evbusd'), fault=f'{fault}@30:sync', switch=switch))
    answered, failed = set(), 0
    for _ in range(40):       # the 30th sync fails, whatever it is for
        try:
            answered.add(client.put('k', BODY))
        except CallError as error:
            assert error.name == ERROR + 'SpoolFailed', error
            failed += 1
    switch.touch()
    with raises('SpoolFailed') as failure:
        client.put('k', BODY)
    # What is known, and what to do.
    assert 'not known whether' in str(failure.value) and 'again with the same id' in str(failure.value)
    switch.unlink()
    assert len(answered) >= 20 and failed <= 1

    daemon.kill()
    wait_for(lambda: not client.owner(), 'the name to be free')
    held.let()
    daemon = evbusd(held.config, arguments=arguments)
    ledger = client.wait_ledger(queued=0)
    delivered = [event['id'] for event in held.events()]
    # What was not answered may be there.
    assert answered <= set(delivered) and len(set(delivered)) <= len(answered) + failed + 1
    assert ledger['delivered'] == ledger['accepted'] == len(delivered)
    daemon.stop()
