# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusctl put --wait and test-route: what is shown of an event's way, and the exit codes."""

import re
import signal
import subprocess

import pytest

from evbus_service import program, read_events, wait_for

ID = r'[0-9a-f]{8}-[0-9a-f-]{27}\n'
SICK = """
sink: {"*": {mode: confirm, poison_key: bad}}
file: {"*both": {path: FOLDER/events.jsonl}}
"""
UNDER_WAY = 'the event stays with evbusd, which goes on\n'


def start(environment, *arguments):
    return subprocess.Popen([program('evbusctl'), *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, deadline=60):
    stdout, stderr = process.communicate(timeout=deadline)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize('spool', [['--session'], ['--session', '--no-spool']], ids=['spool', 'memory'])
def test_put_waits_until_it_is_delivered(evbusd, client, environment, held, spool):
    evbusd(held.config, arguments=spool)
    process = start(environment, 'put', '--wait', 'k', '{"a": 1}')
    client.wait_ledger(accepted=1, queued=1)
    assert process.poll() is None
    held.let()
    status, stdout, stderr = finish(process)
    assert (status, stderr) == (0, '')
    assert re.fullmatch(ID + "file 'default': delivered\n", stdout), stdout
    client.wait_ledger(accepted=1, delivered=1)
    assert [event['body'] for event in held.events()] == [{'a': 1}]


def test_each_route_has_a_line(evbusd, client, evbusctl, folder):
    evbusd(SICK.replace('FOLDER', str(folder)))
    fine = evbusctl('put', '--wait', '--profile', 'both', 'k', '1')
    assert fine.returncode == 0
    assert sorted(fine.stdout.splitlines()[1:]) == ["file '*both': delivered", "sink '*': delivered"]
    bad = evbusctl('put', '--wait=60', '--profile', 'both', 'bad', '1')
    assert bad.returncode == 5
    assert sorted(bad.stdout.splitlines()[1:]) == ["file '*both': delivered",
                                                   "sink '*': dead: the routing key is that of poison_key"]
    client.wait_ledger(accepted=4, delivered=3, dead=1)


def test_the_time_is_over(evbusd, client, evbusctl, held):
    evbusd('internal: {"*": {}}\n' + held.config)
    late = evbusctl('put', 'k', '1', '--wait=1')
    assert late.returncode == 6
    assert late.stderr == 'evbusctl: not delivered everywhere within 1 s; ' + UNDER_WAY
    lines = late.stdout.splitlines()[1:]
    assert lines[0] == "internal '*': delivered"
    assert re.fullmatch(r"file 'default': not yet, it is (retrying|broken): .*events\.jsonl.*", lines[1]), lines
    held.let()
    client.wait_ledger(accepted=2, delivered=2)


def test_ctrl_c_ends_the_waiting_alone(evbusd, client, environment, held):
    evbusd(held.config)
    process = start(environment, 'put', 'k', '1', '--wait')
    client.wait_ledger(queued=1)
    process.stdout.readline()     # its id: from here on it waits
    process.send_signal(signal.SIGINT)
    status, _, stderr = finish(process)
    assert (status, stderr) == (130, 'evbusctl: ' + UNDER_WAY)
    held.let()
    client.wait_ledger(accepted=1, delivered=1)


def test_the_service_leaves(evbusd, client, environment, held):
    daemon = evbusd(held.config)
    process = start(environment, 'put', 'k', '1', '--wait')
    process.stdout.readline()
    daemon.signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    status, _, stderr = finish(process)
    assert status == 1 and 'evbusd left the bus' in stderr
    wait_for(lambda: client.owner() is None, 'the name to be free')
    held.let()
    evbusd(held.config)
    client.wait_ledger(accepted=1, delivered=1)


def test_nothing_to_wait_for(evbusd, evbusctl):
    evbusd('internal: {some: {}}')
    result = evbusctl('put', '--wait', '--profile', 'other', 'k', '1')
    assert result.returncode == 0
    assert re.fullmatch(ID + 'no route matches: it goes nowhere\n', result.stdout)


@pytest.mark.parametrize('arguments', [
    ['put', '--wait=0', 'k', '1'], ['put', '--wait=x', 'k', '1'], ['put', '--wait=86401', 'k', '1'], ['put', '--wait', 'k', '-'],
    ['test-route', '--wait', '0', 'x'], ['test-route', '--wait=86401', 'x'], ['test-route'], ['test-route', 'x', 'y'],
])
def test_a_command_line_that_is_wrong(evbusctl, arguments):
    result = evbusctl(*arguments, input='')
    assert result.returncode == 2 and result.stdout == '', result


# test-route

def test_a_route_that_works(evbusd, client, evbusctl, folder):
    path = folder / 'events.jsonl'
    evbusd(f'internal: {{"*": {{}}}}\nfile: {{orders-*: {{path: {path}}}}}\nsink: {{other: {{mode: broken}}}}')
    client.subscribe()
    result = evbusctl('test-route', 'orders-1')
    assert (result.returncode, result.stderr) == (0, '')
    assert re.fullmatch(ID + r"(.*)\n(.*)\n", result.stdout), result.stdout
    assert sorted(re.sub(r'\d+\.\d{3}', 'T', line) for line in result.stdout.splitlines()[1:]) == [
        "file 'orders-*': delivered after T s", "internal '*': delivered after T s"]
    client.wait_ledger(accepted=2, delivered=2)

    # It is marked.
    event, = read_events(path)
    assert (event['routing_key'], event['profile'], event['body']) == ('evbus.test', 'orders-1', {'test': True})
    assert event['attributes'] == {'evbustest': 'true'}
    assert event['id'] == result.stdout.splitlines()[0]
    client.wait_events(1)
    assert client.events[0]['attributes'] == {'content-type': 'application/json', 'evbustest': 'true'}
    assert client.events[0]['variant'].unpack() == {'test': True}


def test_a_sink_that_is_broken(evbusd, client, evbusctl):
    evbusd('internal: {"*": {}}\nsink: {"*": {mode: broken}}')
    result = evbusctl('test-route', '--wait', '1', 'x')
    assert result.returncode == 6
    lines = result.stdout.splitlines()[1:]
    assert re.fullmatch(r"internal '\*': delivered after \d+\.\d{3} s", lines[0])
    assert re.fullmatch(r"sink '\*': not yet, it is broken: (.*: )?the sink is told to fail", lines[1]) and len(lines) == 2
    client.wait_ledger(accepted=2, delivered=1, queued=1)


def test_a_sink_that_refuses(evbusd, client, evbusctl):
    evbusd('sink: {"*": {mode: poison}}')
    result = evbusctl('test-route', 'x')
    assert result.returncode == 5
    assert re.fullmatch(ID + r"sink '\*': dead after \d+\.\d{3} s: the sink is told to fail\n", result.stdout)
    client.wait_ledger(accepted=1, dead=1)


def test_no_route(evbusd, client, evbusctl):
    evbusd('internal: {some: {}}')
    result = evbusctl('test-route', 'other')
    assert (result.returncode, result.stdout) == (1, '')
    assert "no route takes events of the profile 'other'" in result.stderr
    client.wait_ledger(accepted=0, unrouted=0)


def test_no_service(evbusctl, bus):
    assert evbusctl('test-route', 'x').returncode == 4
