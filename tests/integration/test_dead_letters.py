# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dead letters and orphaned routes, over D-Bus and with evbusctl."""

import array
import fcntl
import json
import os
import socket
import sqlite3
import subprocess
import termios

import pytest
from gi.repository import Gio, GLib

from evbus_service import DEADLINE, ERROR, MANAGER, NAME, PATH, CallError, assert_balanced, count_descriptors, program, wait_for

BODY = GLib.Variant('a{sv}', {'n': GLib.Variant('i', 1)})
SICK = "sink: {sick: {mode: poison}}\nfile: {well: {path: %s}}\n"
ROUTE = "sink 'sick'"


@pytest.fixture
def service(evbusd, folder):
    return evbusd(SICK % (folder / 'well'), arguments=['--session', '--spool', str(folder / 'spool')])


def list_dead(client, route='', after=0, most=100):
    return client.call('ListDead', '(sxu)', route, after, most, interface=MANAGER)[0]


def die(client, n):
    """Beside those that are there."""
    n_before = len(list_dead(client))
    for _ in range(n):
        client.put('order.new', BODY, 'sick')
    wait_for(lambda: len(list_dead(client)) == n_before + n, f'{n} more dead letters')


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


def test_a_damaged_one_is_listed_and_can_only_be_dropped(service, client, folder, evbusctl):
    die(client, 4)
    bad = [letter[0] for letter in list_dead(client)][0]
    service.stop()
    db = sqlite3.connect(folder / 'spool/spool.db')
    db.execute('UPDATE dead SET record = zeroblob(length(record)) WHERE number = ?', (bad,))
    db.commit()
    db.close()
    service.start()
    client.wait_ledger(accepted=4, dead=4)
    number, route, died, reason, *event = list_dead(client)[0]
    assert (number, route, died, event) == (bad, ROUTE, 0, ['', 0, '', '', '', 0]) and 'damaged' in reason
    assert len(list_dead(client, ROUTE)) == 4
    assert f'{bad} ? {ROUTE}' in ' '.join(evbusctl('dead', 'list').stdout.split())
    lines = [json.loads(line) for line in evbusctl('dead', 'export').stdout.splitlines()]
    assert lines[0] == {'number': bad, 'route': ROUTE, 'reason': reason} and all(line['id'] for line in lines[1:])

    # Who asks for it gets an error that says so; of all, the others are done.
    for profile in ('', 'well'):
        with pytest.raises(CallError, match=f'{ERROR}NotFound.* {bad}, .*damaged'):
            client.call('ReplayDead', '(saxs)', '', [bad], profile, interface=MANAGER)
    assert client.call('ReplayDead', '(saxs)', ROUTE, [], 'well', interface=MANAGER) == (3,)
    client.wait_ledger(accepted=7, delivered=3, dead=1, dropped=3)
    die(client, 2)
    failed = evbusctl('dead', 'replay', '--all', '--profile', 'well')
    assert failed.returncode != 0 and failed.stdout == '2 replayed\n' and 'dead drop' in failed.stderr
    client.wait_ledger(accepted=11, delivered=5, dead=1, dropped=5)
    assert [letter[0] for letter in list_dead(client)] == [bad]
    assert evbusctl('dead', 'drop', '--all').stdout == '1 dropped\n'
    client.wait_ledger(accepted=11, delivered=5, dead=0, dropped=6)
    assert not list_dead(client)


def count_dead(client):
    n = after = 0
    while letters := list_dead(client, '', after, 4096):
        n, after = n + len(letters), letters[-1][0]
    return n


def die_many(client, n, body=BODY, step=1000):
    for _ in range(0, n, step):
        client.call('PutMany', '(a(svs))', [('order.new', body, 'sick')] * step)
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


def start_export(client, descriptor, route='', numbers=()):
    """As client.start()."""
    answer = []

    def done(connection, result):
        try:
            answer.append(connection.call_with_unix_fd_list_finish(result)[0].unpack())
        except GLib.Error as error:
            answer.append(CallError(error))

    descriptors = Gio.UnixFDList()
    descriptors.append(descriptor)
    client.connection.call_with_unix_fd_list(NAME, PATH, MANAGER, 'ExportDead', GLib.Variant('(saxh)', (route, numbers, 0)),
                                             None, Gio.DBusCallFlags.NO_AUTO_START, DEADLINE * 1000, descriptors, None, done)
    return answer


def export(client, *arguments):
    """The end of the pipe that is read, as a file, and the answer that comes."""
    lines, end = os.pipe()
    answer = start_export(client, end, *arguments)
    os.close(end)
    return open(lines, encoding='utf-8'), answer


def is_full(lines):
    size = array.array('i', [0])
    fcntl.ioctl(lines, termios.FIONREAD, size)
    return size[0] > 60000


def test_letters_are_exported(service, client, bus, evbusctl):
    die_many(client, 1000)
    told, others = watch_progress(client), watch_progress(bus.client())
    lines, answer = export(client)
    with lines:
        text = lines.read()
    assert client.finish(answer) == (1000,)
    assert [json.loads(line)['number'] for line in text.splitlines()] == \
        [letter[0] for letter in list_dead(client, '', 0, 1000)]
    assert evbusctl('dead', 'export').stdout == text
    assert told and not others
    assert all(0 < done <= total == 1000 for done, total in told) and told == sorted(told)

    last, first = json.loads(text.splitlines()[9]), json.loads(text.splitlines()[0])
    for route, numbers, expected, problem in [(ROUTE, (last['number'], first['number']), [last, first], None),
                                              (ROUTE, (last['number'] + 1000, first['number']), [first], 'no dead letter'),
                                              ("file 'well'", (first['number'],), [], 'no dead letter'),
                                              ('nobody', (), [], 'no route')]:
        lines, answer = export(client, route, numbers)
        with lines:
            assert [json.loads(line) for line in lines] == expected
        if problem is None:
            assert client.finish(answer) == (len(expected),)
        else:
            with pytest.raises(CallError, match=ERROR + 'NotFound.*' + problem):
                client.finish(answer)
    client.wait_ledger(accepted=1000, dead=1000)


def test_an_export_is_written_to_a_pipe(service, client, folder):
    held = count_descriptors(service.process, 'pipe')
    reads, writes = os.pipe()
    os.mkfifo(folder / 'fifo')
    both = os.open(folder / 'fifo', os.O_RDWR)
    sockets = socket.socketpair()
    with open(folder / 'lines', 'w', encoding='utf-8') as file:
        for descriptor in file.fileno(), reads, both, sockets[0].fileno():
            with pytest.raises(CallError, match=ERROR + 'InvalidArgument.*a pipe; .*writing alone'):
                client.finish(start_export(client, descriptor))
    assert client.finish(start_export(client, writes)) == (0,)
    assert os.get_blocking(writes), 'the flags are those of the caller'
    for descriptor in reads, writes, both:
        os.close(descriptor)
    for end in sockets:
        end.close()
    with pytest.raises(CallError, match=ERROR + 'InvalidArgument.*no file descriptor'):
        client.call('ExportDead', '(saxh)', '', [], 0, interface=MANAGER)
    wait_for(lambda: count_descriptors(service.process, 'pipe') == held, 'the pipes to be closed')
    client.wait_ledger(accepted=0)


def test_an_export_ends_with_its_reader(service, client, environment):
    die_many(client, 100, GLib.Variant('s', 'x' * 20000), 100)
    held = count_descriptors(service.process, 'pipe')
    for wants in 0, 1000:
        lines, answer = export(client)
        lines.read(wants)
        lines.close()
        with pytest.raises(CallError, match=ERROR + 'Failed.*Broken pipe'):
            client.finish(answer)
    with subprocess.Popen([program('evbusctl'), 'dead', 'export'], env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(DEADLINE) == 0
    with open('/dev/full', 'w', encoding='utf-8') as full:
        result = subprocess.run([program('evbusctl'), 'dead', 'export'], env=environment, stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, 'evbusctl: cannot write the output: No space left on device\n')
    wait_for(lambda: count_descriptors(service.process, 'pipe') == held, 'the pipes to be closed')
    client.wait_ledger(accepted=100, dead=100)


def test_an_export_that_is_not_read_holds_up_nothing(service, client, bus):
    """It waits, until its caller ends it, or leaves; a caller has two at most, and all have eight. Nor does it hold up a stop."""
    die_many(client, 100, GLib.Variant('s', 'x' * 20000), 100)
    held = count_descriptors(service.process, 'pipe')
    others = [bus.client() for _ in range(3)]
    exports = [export(caller) for caller in (client, *others) for _ in range(2)]
    wait_for(lambda: all(is_full(lines) for lines, _ in exports), 'the pipes to be full')
    for caller, message in (client, 'this caller .*CancelDead'), (bus.client(), 'all callers together'):
        lines, answer = export(caller)
        lines.close()
        with pytest.raises(CallError, match=ERROR + 'Busy.*' + message):
            caller.finish(answer)

    for _ in range(10):
        client.put('k', BODY, 'well')
    client.wait_ledger(accepted=110, delivered=10, dead=100)
    number = list_dead(client)[99][0]
    assert client.call('ReplayDead', '(saxs)', '', [number], 'well', interface=MANAGER) == (1,)
    client.wait_ledger(accepted=111, delivered=11, dead=99, dropped=1)

    client.call('CancelDead', interface=MANAGER)
    for lines, answer in exports[:2]:
        with lines:
            assert client.finish(answer) == (lines.read().count('\n'),)
    assert not any(answer for _lines, answer in exports[2:])
    for other in others:
        other.close()
    wait_for(lambda: count_descriptors(service.process, 'pipe') == held, 'the pipes to be closed')
    for lines, _answer in exports[2:]:
        lines.close()
    client.wait_ledger(accepted=111, delivered=11, dead=99, dropped=1)

    lines, answer = export(client)
    with lines:
        wait_for(lambda: is_full(lines), 'the pipe to be full')
        service.stop()
    with pytest.raises(CallError, match='NoReply'):
        client.finish(answer)


def test_an_orphan_is_shown_and_forgotten(service, client, folder, evbusctl):
    die(client, 2)
    service.config.write_text(f'file: {{well: {{path: {folder}/well}}}}\n')
    client.call('Reload', interface=MANAGER)
    orphan = client.routes()[-1]
    assert (orphan['provider'], orphan['state'], orphan['ledger']['dead']) == (ROUTE, 'orphaned', 2)
    assert 'orphaned' in evbusctl('status').stdout
    result = evbusctl('dead', 'replay', '--all')
    assert result.returncode == 1 and 'orphan' in result.stderr
    wait_for(lambda: evbusctl('forget', ROUTE).stdout == '2 dropped\n', 'the route to be forgotten')
    assert [route['provider'] for route in client.routes()] == ['file']
    client.wait_ledger(accepted=2, dropped=2)
    result = evbusctl('forget', ROUTE)
    assert result.returncode == 1 and 'no route' in result.stderr


def test_all_but_an_orphans_letters_are_replayed(service, client, folder, evbusctl):
    """More of them than a page, and older: the others come all the same, and how many is said."""
    die_many(client, 300, step=300)
    service.config.write_text('sink: {ill: {mode: poison}}\n')
    client.call('Reload', interface=MANAGER)
    client.call('PutMany', '(a(svs))', [('order.new', BODY, 'ill')] * 5)
    wait_for(lambda: count_dead(client) == 305, 'the others')
    service.config.write_text('sink: {ill: {}}\n')
    client.call('Reload', interface=MANAGER)
    result = evbusctl('dead', 'replay', '--all')
    assert (result.returncode, result.stdout) == (1, '5 replayed\n') and 'orphan' in result.stderr
    client.wait_ledger(dead=300, queued=0)
    numbers = [letter[0] for letter in list_dead(client, '', 0, 300)]
    result = evbusctl('dead', 'drop', *map(str, [numbers[-1] + 1000, *numbers[1:]]))
    assert (result.returncode, result.stdout) == (1, '299 dropped\n') and 'no dead letter' in result.stderr
    assert evbusctl('dead', 'drop', '--all').stdout == '1 dropped\n'
    client.wait_ledger(dead=0, dropped=300)


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
