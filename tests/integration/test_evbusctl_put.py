# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusctl put and generate: what arrives, in which order, and what is said of
what does not."""

import json
import os
import pty
import random
import re
import signal
import subprocess

import pytest

from evbus_service import BROKER, MANAGER, assert_balanced, program, read_events, wait_for

ID = re.compile(r'^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$')


@pytest.fixture
def events(folder):
    return folder / 'events.jsonl'


@pytest.fixture(scope='module')
def shared(shared_evbusd):
    """The service that most tests use: to start one for each takes longer than all the rest."""
    class Shared:
        daemon = None

        def serve(self, config, client):
            if self.daemon is None or self.daemon.process.poll() is not None:
                self.daemon = shared_evbusd(config)
                return
            self.daemon.config.write_text(config)
            assert client.call('Reload', interface=MANAGER) == ([],)

        def stop(self):
            if self.daemon is not None:
                self.daemon.stop()
                self.daemon = None

    return Shared()


@pytest.fixture
def before():
    """What the ledger had before the test."""
    return {}


@pytest.fixture
def service(shared, events, client, before):
    """The service with one route, into the file `events`, which is the test's own."""
    shared.serve(f'file: {{default: {{path: {events}}}}}', client)
    before.update(client.wait_ledger(queued=0))


@pytest.fixture
def evbusd(evbusd, shared):
    """One with a configuration of the test's own."""
    shared.stop()
    return evbusd


@pytest.fixture
def settled(client, before):
    """settled(n): waits until n events of this test are delivered, and checks the ledger."""
    def settle(accepted, wait=False, **others):
        def ledger():
            return {key: value - before.get(key, 0) for key, value in client.ledger().items()}
        if wait:
            wait_for(lambda: ledger()['accepted'] == accepted, f'{accepted} events')
        wait_for(lambda: ledger()['queued'] == 0, 'an empty queue')
        figures = assert_balanced(ledger())
        expected = {'accepted': accepted, 'delivered': accepted, **others}
        assert {key: figures[key] for key in expected} == expected
    return settle


def put_lines(evbusctl, lines, *arguments):
    return evbusctl('put', 'lines', '-', *arguments, input='\n'.join(lines))


def on_terminal(arguments, environment, seen, stdout=None, **keywords):
    """Runs evbusctl with a terminal as its standard error, and as its standard
    output too if no other is given. seen(bytes) is called with what it has got whenever
    that is more. Returns the exit code and what the terminal got."""
    master, slave = pty.openpty()
    process = subprocess.Popen([program('evbusctl'), *arguments], stdout=stdout or slave, stderr=slave,
                               env=environment, **keywords)
    os.close(slave)
    text = b''
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:     # EIO: the other end is closed
            break
        if not data:
            break
        text += data
        seen(text)
    os.close(master)
    return process.wait(), text.decode()


# ---- One event ----

def test_put_prints_the_id_of_the_event_that_arrives(service, evbusctl, events, settled):
    result = evbusctl('put', 'order.created', '{"id": 42}')
    assert (result.returncode, result.stderr) == (0, '')
    assert ID.match(result.stdout.strip())
    settled(1)
    (event,) = read_events(events)
    assert event['id'] == result.stdout.strip()
    assert (event['routing_key'], event['profile'], event['body']) == ('order.created', 'default', {'id': 42})


@pytest.mark.parametrize('text', [
    'null', '1.0', '18446744073709551615', '123456789012345678901234567890', '-0', '1e400',
    '"\\u0000"', '{"a":1,"A":2}', '[[],{},"",true]', '"ä€🚌"', '"\\ud800"',
])
def test_json_arrives_as_it_was_written(service, evbusctl, events, settled, text):
    assert evbusctl('put', 'k', '--', text).returncode == 0
    settled(1)
    assert events.read_text().endswith(f',"body":{text}}}\n')


def test_white_space_around_tokens_is_dropped_and_makes_no_second_line(service, evbusctl, events, settled):
    assert evbusctl('put', 'k', ' {\n "a" : [ 1 ,\r\n 2 ] }\n ').returncode == 0
    settled(1)
    assert events.read_text().endswith(',"body":{"a":[1,2]}}\n')


@pytest.mark.parametrize('text, body', [
    ("{'id': <42>}", {'id': 42}), ('@as []', []), ('@a{sv} {}', {}), ("('x', true)", ['x', True]), ('-5', -5),
])
def test_gvariant_text(service, evbusctl, events, settled, text, body):
    assert evbusctl('put', '--gvariant', 'k', '--', text).returncode == 0
    settled(1)
    assert read_events(events)[0]['body'] == body


def test_the_body_from_a_file(service, evbusctl, events, folder, settled):
    (folder / 'body').write_text('{"from": "file"}\n')
    (folder / 'text').write_text("{'from': <'text'>}\n")
    assert evbusctl('put', 'k', '@body').returncode == 0
    assert evbusctl('put', '-g', 'k', '@text').returncode == 0
    settled(2)
    assert [event['body'] for event in read_events(events)] == [{'from': 'file'}, {'from': 'text'}]


def test_the_profile_chooses_the_route(evbusd, evbusctl, folder, settled):
    evbusd(f'file: {{default: {{path: {folder}/a}}, "größe-*": {{path: {folder}/b}}}}')
    # Whatever the locale, a name is the bytes that were typed.
    assert evbusctl('put', '--profile', 'größe-1', 'schlüssel', '1', env={'LC_ALL': 'C'}).returncode == 0
    settled(1, unrouted=0)
    assert read_events(folder / 'a') == []
    (event,) = read_events(folder / 'b')
    assert (event['profile'], event['routing_key']) == ('größe-1', 'schlüssel')


@pytest.mark.parametrize('arguments, message', [
    (['k', 'hello'], "evbusctl: the body 'hello' is no JSON value (a string needs its quotes): "),
    (['k', '{"a":}'], 'evbusctl: the body: not JSON'),
    (['k', ''], 'evbusctl: the body: not JSON'),
    (['k', '[1,]'], 'not JSON'),
    (['k', 'NaN'], 'not JSON'),
    (['-g', 'k', '{'], 'evbusctl: the body: not GVariant text: '),
    (['-g', 'k', 'nothing'], 'not GVariant text: '),
    (['-g', 'k', '@nul'], 'it is not UTF-8, or has a NUL in it'),
    (['-g', 'k', b'"\xff"'], 'it is not UTF-8, or has a NUL in it'),
    (['-g', 'k', '<' * 200 + '1' + '>' * 200], 'not GVariant text: variant nested too deeply'),
    (['-g', 'k', '()'], 'Empty structures (tuples) are not allowed in D-Bus'),
    (['-g', 'k', 'handle 3'], 'a handle (type h)'),
    (['-g', 'k', 'nan'], 'JSON has no not-a-number'),
    (['-g', 'k', '@mi 5'], 'maybe types cannot go over D-Bus'),
    (['k', '@missing'], 'evbusctl: cannot read missing: No such file or directory'),
    (['k', '@'], "evbusctl: the body '@' names no file; "),
    (['k', '@.'], 'evbusctl: cannot read .: Is a directory'),
    (['', '1'], 'routing key'),
    (['k' * 256, '1'], 'routing key'),
    (['--profile', 'p' * 256, 'k', '1'], 'profile'),
    ([b'k\xff', '1'], 'evbusctl: the routing key is not UTF-8'),
    (['--profile', b'p\xff', 'k', '1'], 'evbusctl: the profile is not UTF-8'),
    (['k', '@big'], 'evbusctl: '),
])
def test_what_is_refused_is_said_and_not_put(service, evbusctl, folder, arguments, message, settled):
    (folder / 'big').write_text('"' + 'x' * 1100000 + '"')
    (folder / 'nul').write_bytes(b'1\0002')
    result = evbusctl('put', *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert 'GDBus.Error' not in result.stderr
    assert result.stdout == ''
    settled(0)


@pytest.mark.parametrize('text, fits', [
    ('<' * 63 + '1' + '>' * 63, True),
    ('<' * 64 + '1' + '>' * 64, False),
    ('[' * 32 + '1' + ']' * 32, True),
    ('[' * 33 + '1' + ']' * 33, False),
    ('@' + 'a' * 32 + 'i []', True),
    ('@' + 'a' * 33 + 'i []', False),
    ('(' * 32 + '1' + ',)' * 32, True),
    ('(' * 33 + '1' + ',)' * 33, False),
    ('[' * 31 + '<' + '[' * 31 + '1' + ']' * 31 + '>' + ']' * 31, True),
    ('[' * 32 + '<' + '[' * 32 + '1' + ']' * 32 + '>' + ']' * 32, False),
    ('[<1>, <' + '[' * 33 + '1' + ']' * 33 + '>]', False),
    ('{1: <' + '(' * 33 + '1' + ',)' * 33 + '>}', False),
])
def test_nesting_that_would_cost_the_connection_is_refused(service, evbusctl, text, fits, settled):
    result = evbusctl('put', '-g', 'k', '-', input=f'1\n{text}\n2\n')
    if not fits:
        assert result.stderr.startswith('evbusctl: line 2: it is nested more deeply than D-Bus can carry\n')
    assert len(result.stdout.split()) == 2 + fits, result.stderr
    settled(2 + fits)


def test_noise_puts_nothing_and_breaks_nothing(service, environment, evbusctl, settled):
    # No byte of it can begin a value, in either language.
    noise = bytes(byte for byte in random.Random(1).randbytes(60000) if chr(byte) not in '0123456789')
    for arguments in ([], ['-g']):
        result = subprocess.run([program('evbusctl'), 'put', 'k', '-', *arguments], env=environment, input=noise,
                                capture_output=True, check=False)
        assert (result.returncode, result.stdout) == (1, b'')
        assert b'more refusals are not shown' in result.stderr
    settled(0)


# ---- A line, an event ----

def test_a_thousand_lines_keep_their_order(service, evbusctl, events, settled):
    result = put_lines(evbusctl, [json.dumps({'n': n}) for n in range(1000)])
    assert (result.returncode, result.stderr) == (0, '')
    settled(1000)
    arrived = read_events(events)
    assert [event['body']['n'] for event in arrived] == list(range(1000))
    assert [event['id'] for event in arrived] == result.stdout.split()


SURVIVORS = ['{"n":%d}', '[%d,"ä€🚌",true,{}]', '"%d"', '%d', '{"a":{"b":[0.1,%d]}}']
OTHERS = ['null', '[null,%d]', '%d.50', '1e2', '-0', '123456789012345678901234567890', '"\\u0000"', '"\\u00e4%d"',
          '[' * 40 + '%d' + ']' * 40, '{"long":"' + 'x' * 20000 + '","n":%d}', '18446744073709551616', '-9223372036854775808',
          '18446744073709551615', '5e-324', '1.7976931348623157e308']


def mixed_lines(count):
    """JSON in its shortest form, in runs of what survives being a value and what does not."""
    chance = random.Random(7)
    lines = []
    while len(lines) < count:
        kind, longest = chance.choice([(SURVIVORS, 300), (SURVIVORS, 5), (OTHERS, 5)])
        texts = [chance.choice(kind) for _ in range(chance.randint(1, longest))]
        lines += [text.replace('%d', str(len(lines) + n)) for n, text in enumerate(texts)]
    return lines


def test_lines_arrive_as_they_were_written_and_in_order_in_a_batch_or_not(service, evbusctl, events, settled):
    lines = mixed_lines(6000)
    result = put_lines(evbusctl, lines)
    assert (result.returncode, result.stderr) == (0, '')
    settled(len(lines))
    written = events.read_text().splitlines()
    assert [json.loads(line)['id'] for line in written] == result.stdout.split()
    assert [line.partition(',"body":')[2][:-1] for line in written] == lines


def test_json_stays_json_where_the_service_writes_values_otherwise(evbusd, evbusctl, client, events, settled):
    def serializer():
        return client.call('Get', '(ss)', BROKER, 'Serializer', interface='org.freedesktop.DBus.Properties')[0]
    config = f'evbus: {{serializer: %s}}\nfile: {{default: {{path: {events}}}}}'
    service = evbusd(config % 'msgpack')
    assert serializer() == 'msgpack'
    assert put_lines(evbusctl, [str(n) for n in range(3000)]).returncode == 0
    settled(3000)
    assert [event['body'] for event in read_events(events)] == list(range(3000))

    service.config.write_text(config % 'json')
    assert evbusctl('reload').returncode == 0
    wait_for(lambda: serializer() == 'json', 'the other serializer')


def test_a_window_that_holds_no_batch(evbusd, evbusctl, events, settled):
    evbusd(f'file: {{default: {{path: {events}, delivery: {{overflow: block, window: {{events: 40}}}}}}}}',
           arguments=['--session', '--no-spool'])
    result = put_lines(evbusctl, [str(n) for n in range(5000)])
    assert (result.returncode, result.stderr) == (0, '')
    settled(5000)
    assert [event['body'] for event in read_events(events)] == list(range(5000))


def test_lines_too_large_for_the_service_cost_no_others(evbusd, evbusctl, events, settled):
    evbusd(f'evbus: {{event_bytes: 1KiB}}\nfile: {{default: {{path: {events}}}}}')
    lines = [json.dumps('x' * 2000 if n % 1000 == 999 else n) for n in range(4000)]
    result = put_lines(evbusctl, lines)
    assert result.returncode == 1
    errors = result.stderr.splitlines()
    assert [line.split(':')[1] for line in errors[:4]] == [' line 1000', ' line 2000', ' line 3000', ' line 4000']
    assert errors[4:] == ['evbusctl: 3996 events put, 4 refused, of 4000 lines read']
    settled(3996)
    assert [event['body'] for event in read_events(events)] == [n for n in range(4000) if n % 1000 != 999]


def test_a_pipe_that_goes_on_slowly_is_put_line_by_line(service, environment, settled):
    process = subprocess.Popen([program('evbusctl'), 'put', 'k', '-'], env=environment, stdin=subprocess.PIPE, text=True)
    for n in range(1, 4):
        process.stdin.write(f'{n}\n')
        process.stdin.flush()
        settled(n, wait=True)
    process.stdin.close()
    assert process.wait(20) == 0


def test_lines_of_gvariant_text_that_no_batch_can_carry(service, evbusctl, events, settled):
    """A value as deep as a message can be is too deep for a list of them, which costs the connection;
    and one that cannot be written spoils its batch."""
    lines = [str(n) for n in range(1000)]
    lines[500] = '<' * 63 + '500' + '>' * 63
    lines[800] = 'nan'
    result = put_lines(evbusctl, lines, '--gvariant')
    assert result.returncode == 1
    errors = result.stderr.splitlines()
    assert errors[0].startswith('evbusctl: line 801: ') and 'JSON has no not-a-number' in errors[0]
    assert errors[1:] == ['evbusctl: 999 events put, 1 refused, of 1000 lines read']
    settled(999)
    assert [event['body'] for event in read_events(events)] == [n for n in range(1000) if n != 800]


def test_lines_of_gvariant_text(service, evbusctl, events, settled):
    result = put_lines(evbusctl, ["{'n': <1>}", '', "('two', 2)"], '--gvariant')
    assert (result.returncode, result.stderr) == (0, '')
    settled(2)
    assert [event['body'] for event in read_events(events)] == [{'n': 1}, ['two', 2]]


def test_blank_lines_and_line_ends(service, evbusctl, events, settled):
    result = evbusctl('put', 'k', '-', input='\n1\r\n  \t\n 2 \n\n3')
    assert (result.returncode, result.stderr) == (0, '')
    settled(3)
    assert [event['body'] for event in read_events(events)] == [1, 2, 3]


def test_no_line_is_no_event_and_no_failure(service, evbusctl, settled):
    result = evbusctl('put', 'k', '-', input='')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    settled(0)


def test_refused_lines_are_named_and_the_others_put(service, evbusctl, events, settled):
    result = put_lines(evbusctl, ['1', '', '{bad', '2', json.dumps('x' * 1100000), '3'])
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith('evbusctl: line 3: not JSON')
    assert lines[1].startswith('evbusctl: line 5: ') and 'GDBus' not in lines[1]
    assert lines[2] == 'evbusctl: 3 events put, 2 refused, of 6 lines read'
    assert len(lines) == 3
    assert len(result.stdout.split()) == 3
    settled(3)
    assert [event['body'] for event in read_events(events)] == [1, 2, 3]


def test_a_line_that_is_too_long_is_refused_and_the_others_put(service, environment, events, settled):
    lines = (b'1\n"%b"\n2\n%b' % (b'x' * (65 << 20), b' ' * (65 << 20)))
    result = subprocess.run([program('evbusctl'), 'put', 'k', '-'], env=environment, input=lines, capture_output=True,
                            timeout=120, check=False)
    assert result.returncode == 1
    assert b'line 2: longer than the 64 MiB' in result.stderr and b'line 4: longer' in result.stderr
    assert b'2 events put, 2 refused, of 4 lines read' in result.stderr
    settled(2)
    assert [event['body'] for event in read_events(events)] == [1, 2]


def test_of_many_refusals_the_first_are_shown_and_all_counted(service, evbusctl, settled):
    result = put_lines(evbusctl, ['bad'] * 1000)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[19].startswith('evbusctl: line 20: ')
    assert lines[20:] == ['evbusctl: 980 more refusals are not shown',
                          'evbusctl: 0 events put, 1000 refused, of 1000 lines read']
    settled(0)


def test_a_refusal_that_meets_every_line_ends_it(service, evbusctl, settled):
    result = evbusctl('put', 'k' * 300, '-', input='1\n' * 100000)
    assert result.returncode == 1
    assert 'evbusctl: line 1: not put; no more lines are read' in result.stderr
    assert 'routing key' in result.stderr
    read = int(re.search(r'of (\d+) lines read', result.stderr)[1])
    assert read < 10000
    settled(0)


def test_an_interrupt_waits_for_what_was_sent(service, environment, evbusctl, folder, settled):
    with open(folder / 'ids', 'w+') as ids:
        process = subprocess.Popen([program('evbusctl'), 'put', 'k', '-'], env=environment, stdin=subprocess.PIPE,
                                   stdout=ids, stderr=subprocess.PIPE, text=True)
        process.stdin.write('1\n2\n3\nnot a whole line')
        process.stdin.flush()
        wait_for(lambda: len((folder / 'ids').read_text().split()) == 3, 'three ids')
        process.send_signal(signal.SIGINT)
        # The input stays open: its end would be another reason to stop.
        assert process.wait(20) == 130
        _, errors = process.communicate()
    assert errors == 'evbusctl: 3 events put, 0 refused, of 3 lines read\n'
    settled(3)


def test_the_reader_of_the_ids_may_go_away(service, environment, settled):
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run([program('evbusctl'), 'put', 'k', '-'], env=environment, input=b'1\n' * 5000,
                            stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (result.returncode, result.stderr) == (0, b'')
    settled(5000)


def test_ids_that_cannot_be_written_are_a_failure(service, environment, settled):
    with open('/dev/full', 'w') as full:
        result = subprocess.run([program('evbusctl'), 'put', 'k', '1'], env=environment, stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == 'evbusctl: cannot write the output: No space left on device\n'
    settled(1)


def test_a_closed_standard_input_is_an_error(service, environment, settled):
    result = subprocess.run(['sh', '-c', '"$0" put k - <&-', program('evbusctl')], env=environment,
                            capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert 'evbusctl: cannot read the input: Bad file descriptor' in result.stderr
    settled(0)


def test_progress_is_shown_on_a_terminal_only(service, environment, folder, evbusctl, settled):
    lines, end = os.pipe()
    os.write(end, b'1\n' * 5000)
    ends = [end]

    def seen(text):
        """The input ends once there was progress."""
        if ends and b'/s' in text:
            os.close(ends.pop())

    with open(lines) as stdin, open(folder / 'ids', 'w') as ids:
        status, terminal = on_terminal(['put', 'k', '-'], environment, seen, stdout=ids, stdin=stdin)
    assert status == 0
    assert re.search(r'\r\d+ events put, \d+/s\x1b\[K', terminal)
    assert terminal.endswith('\r\x1b[K5000 events put\r\n')
    assert len((folder / 'ids').read_text().split()) == 5000

    result = evbusctl('put', 'k', '-', input='1\n' * 5000)
    assert result.stderr == ''
    settled(10000)


# ---- generate ----

def test_generate_puts_as_many_as_asked(service, evbusctl, events, settled):
    result = evbusctl('generate', '--count', '250', '--rate', '0', '--key', 'g', '--profile', 'default')
    assert result.returncode == 0, result.stderr
    assert re.match(r'250 events put in \d+\.\d s \(\d+/s\)\n$', result.stdout)
    settled(250)
    arrived = read_events(events)
    assert [event['body']['sequence'] for event in arrived] == list(range(250))
    assert {event['routing_key'] for event in arrived} == {'g'}
    assert len({event['body']['value'] for event in arrived}) > 200


def test_generate_keeps_the_rate(service, evbusctl, settled):
    result = evbusctl('generate', '--count', '50', '--rate', '100')
    seconds = float(re.search(r'in (\d+\.\d) s', result.stdout)[1])
    # Never faster; how much slower is the machine's affair.
    assert seconds >= 0.4
    settled(50)


def test_generate_ends_at_an_interrupt(service, environment, evbusctl, events):
    process = subprocess.Popen([program('evbusctl'), 'generate', '--rate', '200'], env=environment,
                               stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(read_events(events)) > 5, 'some events')
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    put = int(re.match(r'(\d+) events put', output)[1])
    wait_for(lambda: len(read_events(events)) == put, f'{put} events')
    assert_balanced(json.loads(evbusctl('status', '--json').stdout)['ledger'])


@pytest.mark.parametrize('arguments', [
    ['--rate', '-1'], ['--rate', 'nan'], ['--rate', 'x'], ['--count', '-1'], ['--count', '1.5'], ['--nonsense'], ['word'],
])
def test_generate_refuses_nonsense(evbusctl, arguments):
    result = evbusctl('generate', *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith('evbusctl: generate: ')
