# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dead letters and orphaned routes, over D-Bus and with evbusctl."""

import json
import sqlite3

import pytest
from gi.repository import Gio, GLib

from evbus_service import ERROR, MANAGER, NAME, PATH, CallError, assert_balanced, wait_for

BODY = GLib.Variant('a{sv}', {'n': GLib.Variant('i', 1)})
SICK = "sink: {sick: {mode: poison}}\nfile: {well: {path: %s}}\n"
ROUTE = "sink 'sick'"


@pytest.fixture
def service(evbusd, folder):
    return evbusd(SICK % (folder / 'well'), arguments=['--session', '--spool', str(folder / 'spool')])


def list_dead(client, route='', after=0, most=100):
    return client.call('ListDead', '(sxu)', route, after, most, interface=MANAGER)[0]


def die(client, n):
    for _ in range(n):
        client.put('order.new', BODY, 'sick')
    wait_for(lambda: len(list_dead(client)) == n, f'{n} dead letters')


def test_list_and_read(service, client):
    die(client, 3)
    letters = list_dead(client, ROUTE, 0, 2)
    assert len(letters) == 2
    assert len(list_dead(client, '', letters[-1][0])) == 1
    _, route, died, reason, _, put, key, profile, content_type, size = letters[0]
    assert (route, key, profile, content_type, size) == (ROUTE, 'order.new', 'sick', 'application/json', 7)
    assert reason and died >= put
    (letters,) = client.call('ReadDead', '(sxu)', '', 0, 1, interface=MANAGER)
    assert bytes(letters[0][-1]) == b'{"n":1}'
    with pytest.raises(CallError, match=ERROR + 'NotFound'):
        list_dead(client, 'nobody')
    client.wait_ledger(accepted=3, dead=3)


def test_replay_and_drop(service, client):
    die(client, 4)
    numbers = [letter[0] for letter in list_dead(client)]
    assert client.call('ReplayDead', '(saxs)', '', [], '', interface=MANAGER) == (0,)
    assert client.call('ReplayDead', '(saxs)', '', numbers[:2], 'well', interface=MANAGER) == (2,)
    client.wait_ledger(accepted=6, delivered=2, dead=2, dropped=2)
    assert client.call('ReplayDead', '(saxs)', ROUTE, [], '', interface=MANAGER) == (2,)
    wait_for(lambda: sum(letter[0] > numbers[-1] for letter in list_dead(client)) == 2, 'the two to die again')
    client.wait_ledger(accepted=6, delivered=2, dead=2, dropped=2)
    assert client.call('DropDead', '(sax)', ROUTE, [], interface=MANAGER) == (2,)
    client.wait_ledger(accepted=6, delivered=2, dead=0, dropped=4)
    with pytest.raises(CallError, match=ERROR + 'NotFound'):
        client.call('DropDead', '(sax)', '', numbers[:1], interface=MANAGER)


def count_dead(client):
    n = after = 0
    while letters := list_dead(client, '', after, 4096):
        n, after = n + len(letters), letters[-1][0]
    return n


def die_many(client, n):
    for _ in range(0, n, 1000):
        client.call('PutMany', '(a(svs))', [('order.new', BODY, 'sick')] * 1000)
    wait_for(lambda: count_dead(client) == n, f'{n} dead letters')


def watch_progress(client):
    told = []
    client.connection.signal_subscribe(NAME, MANAGER, 'DeadProgress', PATH, None, Gio.DBusSignalFlags.NO_MATCH_RULE,
                                       lambda *arguments: told.append(arguments[5].unpack()))
    return told


def test_long_work_tells_its_caller_of_the_progress(service, client, bus):
    die_many(client, 1000)
    told, others = watch_progress(client), watch_progress(bus.client())
    assert client.finish(client.start('DropDead', '(sax)', ROUTE, [], interface=MANAGER)) == (1000,)
    assert told and not others
    assert all(0 < done <= total == 1000 for done, total in told) and told == sorted(told)
    client.wait_ledger(accepted=1000, dropped=1000)


def test_to_forget_tells_its_caller_of_the_progress(service, client, bus, folder, evbusctl):
    die_many(client, 1000)
    service.config.write_text(f'file: {{well: {{path: {folder}/well}}}}\n')
    client.call('Reload', interface=MANAGER)
    wait_for(lambda: client.routes()[-1]['state'] == 'orphaned', 'the route to be an orphan')
    told, others = watch_progress(client), watch_progress(bus.client())
    assert client.finish(client.start('ForgetRoute', '(s)', ROUTE, interface=MANAGER)) == (1000,)
    assert told and not others
    assert all(0 < done <= total == 1000 for done, total in told) and told == sorted(told)
    client.wait_ledger(accepted=1000, dropped=1000)


@pytest.mark.parametrize('method, signature, arguments', [
    ('DropDead', '(sax)', []), ('ReplayDead', '(saxs)', ['well'])])
def test_long_work_is_cancelled(service, client, bus, method, signature, arguments):
    # It may be done before it hears of that; then it is tried once more.
    for _ in range(10):
        die_many(client, 5000)
        answer = client.start(method, signature, ROUTE, [], *arguments, interface=MANAGER)
        bus.client().call('CancelDead', interface=MANAGER)      # of others, of whom there is nothing
        client.call('CancelDead', interface=MANAGER)
        (n_done,) = client.finish(answer)
        if n_done < 5000:
            break
    assert n_done < 5000
    assert assert_balanced(client.ledger())['dead'] == 5000 - n_done
    assert client.ledger()['dropped'] % 5000 == n_done


def test_an_orphan_is_shown_and_forgotten(service, client, folder, evbusctl):
    die(client, 2)
    service.config.write_text(f'file: {{well: {{path: {folder}/well}}}}\n')
    client.call('Reload', interface=MANAGER)
    orphan = client.routes()[-1]
    assert (orphan['provider'], orphan['state'], orphan['ledger']['dead']) == (ROUTE, 'orphaned', 2)
    assert 'orphaned' in evbusctl('status').stdout
    assert evbusctl('dead', 'replay', '--all').returncode == 1
    wait_for(lambda: evbusctl('forget', ROUTE).stdout == '2 dropped\n', 'the route to be forgotten')
    assert [route['provider'] for route in client.routes()] == ['file']
    client.wait_ledger(accepted=2, dropped=2)
    result = evbusctl('forget', ROUTE)
    assert result.returncode == 1 and 'no route' in result.stderr


def test_an_orphan_that_has_nothing_goes(service, client, folder, evbusd):
    """By itself, and what it has counted stays in the totals; one with a dead letter stays."""
    def stored():
        with sqlite3.connect(f'file:{folder}/spool/spool.db?mode=ro', uri=True) as db:
            return ' '.join(key for (key,) in db.execute('SELECT key FROM route WHERE route_id > 0'))

    die(client, 1)
    client.put('k', BODY, 'well')
    client.wait_ledger(accepted=2, delivered=1, dead=1)
    wait_for(lambda: 'file well' in stored(), 'the route to be stored')
    service.config.write_text('internal: {mine: {}}\n')
    client.call('Reload', interface=MANAGER)
    wait_for(lambda: 'file well' not in stored(), 'it to be forgotten', 60)
    assert 'sink sick' in stored()
    client.wait_ledger(accepted=2, delivered=1, dead=1)
    service.stop()

    evbusd(SICK % (folder / 'well'), arguments=['--session', '--spool', str(folder / 'spool')])
    client.wait_ledger(accepted=2, delivered=1, dead=1)
    figures = {route['provider']: route['ledger'] for route in client.routes()}
    assert figures['file']['accepted'] == 0 and figures['sink']['dead'] == 1


def test_evbusctl_dead(service, client, evbusctl):
    die(client, 3)
    number = str(list_dead(client)[1][0])
    shown = evbusctl('dead', 'list', '--route', ROUTE)
    assert shown.returncode == 0 and shown.stdout.count('order.new') == 3
    lines = [json.loads(line) for line in evbusctl('dead', 'export').stdout.splitlines()]
    assert [line['body'] for line in lines] == [{'n': 1}] * 3
    assert lines[0]['route'] == ROUTE and lines[0]['reason'] and lines[0]['died'].endswith('Z')
    assert json.loads(evbusctl('dead', 'show', number).stdout) == lines[1]
    assert evbusctl('dead', 'replay', number, '--profile', 'well').stdout == '1 replayed\n'
    assert evbusctl('dead', 'drop', '--all').stdout == '2 dropped\n'
    client.wait_ledger(accepted=4, delivered=1, dropped=3)
    result = evbusctl('dead', 'show', number)
    assert result.returncode == 1 and f'no dead letter {number}' in result.stderr


def test_a_route_is_named_in_any_locale(service, evbusctl):
    result = evbusctl('dead', 'list', '--route', 'größe', env={'LC_ALL': 'C'})
    assert 'the spool has no route' in result.stderr
    result = evbusctl('dead', 'list', '--route', b'\xff')
    assert result.returncode != 0 and 'the route is not UTF-8' in result.stderr


@pytest.mark.parametrize('arguments, message', [
    (['bury'], "unknown action 'bury'"),
    (['drop'], 'which?'),
    (['drop', 'x'], "'x' is no number"),
    (['drop', '1', '--all'], 'either numbers'),
    (['list', '1'], 'either numbers'),
])
def test_a_wrong_command_line(evbusctl, arguments, message):
    result = evbusctl('dead', *arguments)
    assert result.returncode == 2 and message in result.stderr
