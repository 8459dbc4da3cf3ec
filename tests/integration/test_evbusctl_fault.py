# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusctl and a service that is not there, or misbehaves."""

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys

import pytest

from evbus_service import program, wait_for

COMMANDS = [['put', 'k', '1'], ['put', 'k', '-'], ['generate'], ['monitor'], ['status'], ['status', '--json'],
            ['routes'], ['explain', 'default'], ['reload']]
QUESTIONS = [command for command in COMMANDS if command[0] in ('status', 'routes', 'explain', 'reload')]


@pytest.fixture
def fake(environment):
    """fake(WAY) runs fake_evbus.py."""
    processes = []

    def run(way):
        process = subprocess.Popen([sys.executable, str(pathlib.Path(__file__).with_name('fake_evbus.py')), way],
                                   env=environment, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == 'ready\n'

    yield run
    for process in processes:
        process.kill()
        process.communicate()


# ---- Nobody there ----

@pytest.mark.parametrize('command', COMMANDS)
def test_without_a_service_it_says_how_to_start_it(evbusctl, command):
    result = evbusctl(*command, input='1\n')
    assert result.returncode == 4
    assert result.stdout == '' or command == ['generate']
    assert 'evbusctl: ' in result.stderr and 'evbusd is not running on the session bus\n' in result.stderr
    assert '\n  evbusd --session\n' in result.stderr
    assert '\n  systemctl --user start evbusd.service\n' in result.stderr
    assert 'GDBus' not in result.stderr


def test_the_advice_is_for_the_bus_that_was_asked(evbusctl, bus):
    result = evbusctl('status', '--system')
    assert 'evbusd is not running on the system bus\n' in result.stderr
    assert '\n  evbusd --system\n  systemctl start evbusd.service\n' in result.stderr
    result = evbusctl('--address', bus.address, 'status')
    assert f"\n  evbusd --address '{bus.address}'\n" in result.stderr


@pytest.mark.parametrize('command', COMMANDS)
def test_without_a_bus_it_says_so(evbusctl, folder, command):
    result = evbusctl('--address', f'unix:path={folder}/none', *command, input='1\n')
    assert result.returncode == 4
    assert f'evbusctl: cannot reach unix:path={folder}/none: ' in result.stderr
    assert '--session, --system or --address' in result.stderr


def test_the_default_is_the_session_bus_where_there_is_one(evbusctl, environment, folder):
    assert 'on the session bus' in evbusctl('status').stderr

    del environment['DBUS_SESSION_BUS_ADDRESS']
    assert 'on the system bus' in evbusctl('status').stderr

    (folder / 'run' / 'bus').touch()
    assert 'cannot reach the session bus' in evbusctl('status').stderr

    del environment['XDG_RUNTIME_DIR']
    assert 'on the system bus' in evbusctl('status').stderr


@pytest.mark.parametrize('command', [['put', 'k', '1'], ['monitor']])
def test_a_service_that_cannot_be_started_is_told_apart(evbusctl, bus, client, command):
    path = bus.folder / 'services' / 'org.evbus1.service'
    path.write_text('[D-BUS Service]\nName=org.evbus1\nExec=/bin/false\n')
    client.call('ReloadConfig', interface='org.freedesktop.DBus', name='org.freedesktop.DBus',
                path='/org/freedesktop/DBus')
    try:
        result = evbusctl(*command)
        assert result.returncode == 4
        assert 'the session bus could not start evbusd' in result.stderr
        assert 'evbusd --session' in result.stderr
    finally:
        path.unlink()
        client.call('ReloadConfig', interface='org.freedesktop.DBus', name='org.freedesktop.DBus',
                    path='/org/freedesktop/DBus')


def test_a_put_starts_the_service_and_a_question_does_not(evbusctl, bus, client, folder, environment):
    path = bus.folder / 'services' / 'org.evbus1.service'
    (folder / 'profiles.yaml').write_text(f'file: {{default: {{path: {folder}/events}}}}')
    path.write_text('[D-BUS Service]\nName=org.evbus1\n'
                    f'Exec={program("evbusd")} --session --config {folder}/profiles.yaml\n')
    client.call('ReloadConfig', interface='org.freedesktop.DBus', name='org.freedesktop.DBus',
                path='/org/freedesktop/DBus')
    client.call('UpdateActivationEnvironment', '(a{ss})',
                {key: environment[key] for key in ('EVBUS_PLUGIN_PATH', 'LD_LIBRARY_PATH', 'DBUS_SESSION_BUS_ADDRESS')},
                interface='org.freedesktop.DBus', name='org.freedesktop.DBus', path='/org/freedesktop/DBus')
    try:
        for command in QUESTIONS:
            assert evbusctl(*command).returncode == 4
        assert client.owner() is None

        assert evbusctl('put', 'k', '1').returncode == 0
        client.wait_ledger(accepted=1, delivered=1)
        process = client.call('GetConnectionUnixProcessID', '(s)', 'org.evbus1', interface='org.freedesktop.DBus',
                              name='org.freedesktop.DBus', path='/org/freedesktop/DBus')[0]
        subprocess.run(['kill', str(process)], check=True)
        wait_for(lambda: client.owner() is None, 'the service to leave')
    finally:
        path.unlink()
        client.call('ReloadConfig', interface='org.freedesktop.DBus', name='org.freedesktop.DBus',
                    path='/org/freedesktop/DBus')


# ---- There, and misbehaving ----

@pytest.mark.parametrize('command', COMMANDS)
def test_silence_ends_at_the_timeout(fake, evbusctl, command):
    fake('silent')
    result = evbusctl('--timeout', '1', *command, input='1\n2\n', timeout=20)
    assert result.returncode == 1
    assert 'evbusctl: no answer from evbusd within 1 s' in result.stderr
    if command == ['put', 'k', '-']:
        assert '0 events put, 0 refused, 2 without an answer, of 2 lines read' in result.stderr


def test_ids_come_in_the_order_of_the_lines_whatever_that_of_the_answers(fake, evbusctl):
    fake('reverse')
    result = evbusctl('put', 'k', '-', input='\n'.join(str(n) for n in range(1000)))
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.split() == [f'id-{n}' for n in range(1000)]


def test_a_full_queue_ends_the_reading(fake, evbusctl):
    fake('full')
    result = evbusctl('put', 'k', '-', input='1\n' * 10000)
    assert result.returncode == 1
    assert result.stdout.split() == [f'id-{n}' for n in range(1, 301)]
    lines = result.stderr.splitlines()
    assert lines[0] == 'evbusctl: line 301: not put; no more lines are read'
    assert lines[1] == 'evbusctl: no space within 10 s'
    put, refused, read = (int(n) for n in re.findall(r'\d+', lines[2]))
    assert (put, refused) == (300, read - 300)
    assert read <= 300 + 2048     # what it reads ahead
    assert len(lines) == 3


def test_a_service_that_vanishes_leaves_no_doubt_about_what_was_put(fake, evbusctl):
    fake('vanish')
    result = evbusctl('put', 'k', '-', input='1\n' * 10000)
    assert result.returncode == 1
    assert result.stdout.split() == [f'id-{n}' for n in range(1, 301)]
    lines = result.stderr.splitlines()
    assert lines[0] == 'evbusctl: line 301: without an answer; no more lines are read'
    assert lines[1].startswith('evbusctl: evbusd or the bus left before it answered')
    # What was sent once it had gone was certainly refused.
    put, refused, unanswered, read = (int(n) for n in re.findall(r'\d+', lines[2]))
    assert put == 300 and unanswered >= 1
    assert put + refused + unanswered == read
    assert len(lines) == 3


def test_lines_go_in_batches_where_they_survive_it(fake, evbusctl):
    fake('batches')
    lines = [str(n) for n in range(10000)]
    odd = {4000: 'null', 5000: '1.50', 5001: '"\\u0000"', 6000: '123456789012345678901234567890'}
    for n, text in odd.items():
        lines[n] = text
    result = evbusctl('put', 'k', '-', input='\n'.join(lines))
    assert (result.returncode, result.stderr) == (0, '')
    ids = result.stdout.split()
    assert [event_id.split('-', 1)[1] for event_id in ids] == lines
    assert all(ids[n] == f'one-{text}' for n, text in odd.items())
    # All but those, and what it sends before it knows how the service writes values.
    assert sum(event_id.startswith('many-') for event_id in ids) > 5000


def test_a_line_that_spoils_its_batch_is_named_and_the_others_are_put(fake, evbusctl):
    fake('batches')
    lines = [str(n) for n in range(10000)]
    lines[7000] = '"bad"'
    result = evbusctl('put', 'k', '-', input='\n'.join(lines))
    assert result.returncode == 1
    assert result.stderr.splitlines() == ['evbusctl: line 7001: event 0: it is bad',
                                          'evbusctl: 9999 events put, 1 refused, of 10000 lines read']
    ids = result.stdout.split()
    assert [event_id.split('-', 1)[1] for event_id in ids] == lines[:7000] + lines[7001:]
    assert sum(event_id.startswith('many-') for event_id in ids) > 5000


def test_another_service_under_the_name(fake, evbusctl):
    fake('stranger')
    for command in COMMANDS:
        result = evbusctl(*command, input='1\n')
        assert result.returncode == 1
        assert 'does not know this call; is it of another version' in result.stderr


def monitor(environment, *arguments):
    process = subprocess.Popen([program('evbusctl'), 'monitor', *arguments], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == 'evbusctl: watching; Ctrl-C ends\n'
    return process


def test_monitor_says_that_the_service_left(fake, evbusctl):
    fake('leave')
    result = evbusctl('monitor')
    assert result.returncode == 1
    assert result.stderr.endswith('evbusctl: evbusd left the bus\n')


def test_monitor_lets_no_event_steer_the_terminal(fake, environment):
    fake('hostile')
    process = monitor(environment)
    lines = [process.stdout.readline() for _ in range(6)]
    errors = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert [line.rstrip('\n').split('  ', 1)[1] for line in lines] == [
        'plain  default  {"null":null,"list":[]}',
        'red\\u001b[31m\\u000aforged  default  "a\\u001b]0;title\\u0007\\u202e\\u0085b"',
        'text  default  a text\\u000a',
        'bytes  default  (2 bytes of application/msgpack)',
        'unsayable  default  "\\u0000"',
        'last  default  1',
    ]
    assert 'evbusctl: event the-id cannot be shown: ' in errors


def test_monitor_writes_a_line_of_json_for_each_event(fake, environment):
    fake('hostile')
    process = monitor(environment, '--json')
    lines = [json.loads(process.stdout.readline()) for _ in range(6)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    common = {'id': 'the-id', 'time': '2023-11-14T22:13:20.123456Z', 'profile': 'default'}
    assert lines == [
        {**common, 'routing_key': 'plain', 'body': {'null': None, 'list': []}},
        {**common, 'routing_key': 'red\x1b[31m\nforged', 'body': 'a\x1b]0;title\x07\u202e\u0085b'},
        {**common, 'routing_key': 'text', 'content_type': 'text/plain', 'attributes': {'trace': 'x'},
         'body_base64': 'YSB0ZXh0Cg=='},
        {**common, 'routing_key': 'bytes', 'content_type': 'application/msgpack', 'body_base64': '/wA='},
        {**common, 'routing_key': 'unsayable', 'body': '\0'},
        {**common, 'routing_key': 'last', 'body': 1},
    ]


# ---- Long work ----

def read_until(descriptor, text):
    """What a program writes to a terminal, until that has come."""
    output = b''
    while text not in output:
        output += os.read(descriptor, 4096)
    return output


@pytest.mark.parametrize('route, shown, said, stdout', [('sick', [b'3 of 10'], b'', '4 dropped\n'),
                                                        ('broken', [b'3 of 10'], b'the spool is gone', '3 dropped\n'),
                                                        ('deaf', [b'3 of 10', b'4 of 10'], b'', '')])
def test_long_work_shows_its_progress_and_is_interrupted(fake, environment, route, shown, said, stdout):
    """The first Ctrl-C ends the work, the second does not wait for that. An error is said all the same."""
    fake('long')
    master, slave = pty.openpty()
    process = subprocess.Popen([program('evbusctl'), 'dead', 'drop', '--route', route], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    for progress in shown:
        read_until(master, progress)
        process.send_signal(signal.SIGINT)
    if said:
        read_until(master, said)
    output, _ = process.communicate(timeout=20)
    os.close(master)
    assert (process.returncode, output) == (130, stdout)
