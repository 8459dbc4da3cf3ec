# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only Redis has: its commands, its answers, its socket."""

import json
import socketserver
import threading

import pytest

from adaptor import PASSWORD
from adaptor_redis import Connection
from certificates import PASSWORD as KEY_PASSWORD
from evbus_service import assert_balanced, wait_for
from test_cloudevents import validator  # noqa: F401
from trial import body_of, wait_outcomes


def test_lists(trial, adaptor, validator):  # noqa: F811
    options = {**adaptor.options(trial.destination), 'command': 'rpush', 'db': 3}
    trial.start(options)
    trial.put(300)
    trial.wait_delivered()
    trial.reconfigure({**options, 'cloudevents': 'structured'})
    trial.put(20)
    trial.wait_delivered()
    with adaptor.connection() as connection:
        connection.ask('SELECT', 3)
        items = connection.ask('LRANGE', trial.destination, 0, -1)
    assert items[:300] == [data for _, data in trial.sent[:300]]
    assert_cloud_events(validator, items[300:], trial.sent[300:])


def assert_cloud_events(validator, texts, sent):  # noqa: F811
    events = [json.loads(text) for text in texts]
    assert [(event['id'], event['data']) for event in events] == [(event_id, json.loads(data)) for event_id, data in sent]
    for event in events[-20:]:
        validator.validate(event)


def test_channels(trial, adaptor, validator):  # noqa: F811
    with Connection(adaptor.port) as listener:
        listener.ask('AUTH', PASSWORD)
        listener.ask('SUBSCRIBE', f'{trial.destination}.order.created')
        trial.start({**adaptor.options(trial.destination + '.{routing_key}'), 'command': 'publish',
                     'cloudevents': 'structured'})
        trial.put(300)
        trial.wait_delivered()
        assert_cloud_events(validator, [listener.answer()[2] for _ in range(300)], trial.sent)


def test_nobody_listens_to_a_channel(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'command': 'publish'})
    trial.put(1)
    trial.wait_delivered()


def test_what_an_entry_has(trial, adaptor):
    trial.start({name: value for name, value in adaptor.options('').items() if name != 'stream'})
    key = f'order.{trial.destination}'
    event_id = trial.put_bytes(b'\0', 'image/png', key, traceparent='00-1', id='forged', body='forged', subject='ü')
    trial.wait_delivered()
    ((_, fields),) = adaptor.ask('XRANGE', key, '-', '+')
    names = fields[::2]
    assert names[:6] == [b'id', b'time', b'routing_key', b'profile', b'content_type', b'body']
    assert sorted(names[6:]) == [b'subject', b'traceparent']
    entry = dict(zip(names, fields[1::2]))
    assert entry[b'id'].decode() == event_id
    assert entry[b'routing_key'].decode() == key
    assert (entry[b'profile'], entry[b'content_type'], entry[b'body']) == (b'default', b'image/png', b'\0')
    assert entry[b'subject'].decode() == 'ü'
    assert len(entry[b'time']) == len('2026-01-01T00:00:00.000000Z')


@pytest.mark.parametrize('approximate, least, most', [(False, 100, 100), (True, 100, 1000)])
def test_maxlen(trial, adaptor, approximate, least, most):
    trial.start({**adaptor.options(trial.destination), 'maxlen': 100, 'approximate': approximate})
    trial.put(3000)
    trial.wait_delivered()
    received = trial.received()
    assert least <= len(received) <= most
    assert [event.id for event in received] == [event_id for event_id, _ in trial.sent][-len(received):]


def test_a_unix_socket_and_a_user(trial, adaptor):
    options = adaptor.options(trial.destination, port=1)
    trial.start({**options, 'unix_socket': f'{adaptor.folder}/socket', 'username': 'evbus'})
    trial.put(10)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_server_may_be_silent_while_nothing_is_due(trial, adaptor, proxy):
    """`timeout` is about answers: an idle connection is kept, and one whose answer is late is given up."""
    def has_been_idle():
        mine = [line for line in adaptor.ask('CLIENT', 'LIST').split(b'\n') if b' name=evbus-' in line]
        return all(int(line.partition(b' idle=')[2].split()[0]) >= 3 for line in mine)

    trial.start({**adaptor.options(trial.destination, port=proxy.port), 'timeout': '1s'})
    trial.put(1)
    trial.wait_delivered()
    wait_for(has_been_idle, 'the connection to be idle for long')
    trial.put(1)
    trial.wait_delivered()
    assert proxy.connections == 1

    adaptor.ask('CLIENT', 'PAUSE', 60000, 'WRITE')
    trial.put(1)
    trial.wait_state('retrying', 'timed out')
    adaptor.ask('CLIENT', 'UNPAUSE')
    trial.wait_delivered()


def test_a_user_without_a_password(trial, adaptor):
    """Who is not the default user, which is what comes of no AUTH."""
    with Connection(adaptor.port) as connection:
        connection.ask('AUTH', PASSWORD)
        connection.ask('ACL', 'SETUSER', 'open', 'on', 'nopass', '~*', '+@all')
    options = adaptor.options(trial.destination)
    del options['password']
    trial.start({**options, 'username': 'open'})
    trial.put(1)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_certificate_in_pkcs12(trial, adaptor, certificates):
    options = adaptor.tls_options(trial.destination)
    options['tls'].update(cert_file=str(certificates.client_pkcs12), key_password=adaptor.secret(KEY_PASSWORD))
    del options['tls']['key_file']
    trial.start(options)
    trial.put(10)
    trial.wait_delivered()
    trial.assert_received_once()


@pytest.mark.parametrize('tls, reason', [
    ({'ca_file': '/nonexistent'}, "'tls.ca_file', /nonexistent: "),
    ({'cert_file': '/nonexistent'}, "'tls.cert_file', /nonexistent: "),
    ({'key_password': {'env': 'HOME'}}, "leave 'tls.key_file' out"),
])
def test_files_that_cannot_be_used(trial, adaptor, tls, reason):
    options = adaptor.tls_options(trial.destination)
    options['tls'].update(tls)
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', reason)
    trial.wait_ledger(accepted=1, queued=1)


def test_tls_to_a_port_without_it(trial, adaptor):
    trial.start({**adaptor.tls_options(trial.destination), 'port': adaptor.port, 'connect_timeout': 1})
    trial.put(1)
    wait_for(lambda: trial.route()['state'] in ('broken', 'retrying'), 'the route to fail')
    trial.wait_ledger(accepted=1, queued=1)


def test_a_stream_that_is_a_list(trial, adaptor):
    """The address of the profile pauses the route, that of an event ends the event."""
    adaptor.ask('RPUSH', trial.destination, 'x')
    trial.start(adaptor.options(trial.destination))
    trial.put(5)
    trial.wait_state('broken', "WRONGTYPE")
    trial.wait_ledger(accepted=5, queued=5)
    trial.reconfigure(adaptor.options('{routing_key}'))
    trial.put_bytes(b'x', key=trial.destination)
    trial.wait_ledger(accepted=6, delivered=5, dead=1)
    (letter,) = wait_for(trial.dead_letters, 'the dead letter')
    assert 'WRONGTYPE' in letter[3]


def test_what_is_no_json_is_poison(trial, adaptor, evbusd):
    """With CloudEvents, where it would have to be part of a document."""
    trial.start({**adaptor.options(trial.destination), 'cloudevents': 'structured'})
    trial.put(3)
    # The service checks application/json itself, not what ends in +json.
    trial.put_bytes(b'{"a":', 'application/x+json')
    trial.put(3)
    trial.wait_ledger(accepted=7, delivered=6, dead=1)
    assert len(trial.received()) == 6


class Fake(socketserver.ThreadingTCPServer):
    """Welcomes everybody, and answers every XADD, or another command, with the same."""
    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while line := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                answer = self.server.answer.encode() if words[0] == self.server.command else b'+OK'
                self.wfile.write(answer + b'\r\n')

        def finish(self):
            pass

    def __init__(self, answer, command=b'XADD'):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.answer = answer
        self.command = command
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the client has gone


ANSWERS = {
    '-OOM command not allowed when used memory > \'maxmemory\'.': 'retrying',
    '-LOADING Redis is loading the dataset in memory': 'retrying',
    '-BUSY Redis is busy running a script.': 'retrying',
    '-READONLY You can\'t write against a read only replica.': 'retrying',
    '-MASTERDOWN Link with MASTER is down': 'retrying',
    '-MISCONF Redis is configured to save RDB snapshots': 'retrying',
    '-NOREPLICAS Not enough good replicas to write.': 'retrying',
    '-CLUSTERDOWN The cluster is down': 'retrying',
    '-TRYAGAIN Multiple keys request during rehashing of slot': 'retrying',
    '-ERR max number of clients reached': 'retrying',
    '-ERR something new': 'retrying',
    'nonsense': 'retrying',
    '$8000000\r\n' + 'x' * 4000000: 'retrying',
    '-NOAUTH Authentication required.': 'broken',
    '-NOPERM this user has no permissions': 'broken',
    '-DENIED Redis is running in protected mode': 'broken',
    '-MOVED 3999 127.0.0.1:6381': 'broken',
    '-ERR unknown command \'XADD\'': 'broken',
    '-ERR The stream has exhausted the last possible ID, unable to add more items': 'broken',
    '-ERR Protocol error: invalid bulk length': 'dead',
    '-ERR string exceeds maximum allowed size (proto-max-bulk-len)': 'dead',
    '$3\r\n1-1': 'delivered',
}


# Where the stream is the event's.
OF_EVENT = {
    '-WRONGTYPE Operation against a key holding the wrong kind of value': 'dead',
    '-NOPERM this user has no permissions to access one of the keys used as arguments': 'dead',
    "-NOPERM this user has no permissions to run the 'xadd' command": 'broken',
    '-MOVED 3999 127.0.0.1:6381': 'broken',
    '-ERR The stream has exhausted the last possible ID, unable to add more items': 'dead',
}


@pytest.mark.parametrize('stream, answers', [('s', ANSWERS), ('{routing_key}', OF_EVENT)], ids=['profile', 'event'])
def test_every_answer_has_its_outcome(adaptor, evbusd, client, stream, answers):
    fakes = [Fake(answer) for answer in answers]
    routes = [{'default': {'host': '127.0.0.1', 'port': fake.server_address[1], 'stream': stream, 'delivery': {'name': f'r{i}'}}}
              for i, fake in enumerate(fakes)]
    evbusd(json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: routes}))
    client.put('order.created', body_of(1)[0])
    for route, answer in zip(wait_outcomes(client, answers.values()), answers, strict=True):
        assert len(answer) < 1000 or 'longer than 1 MiB' in route['reason']
        assert answer[0] != '-' or answers[answer] == 'dead' or answer[1:] in route['reason']
    for fake in fakes:
        fake.shutdown()
        fake.server_close()


# What comes of a login, and how its reason ends. One answers with what it was sent.
LOGINS = {
    (b'AUTH', "-ERR unknown command 'AUTH', with args beginning with: 'evbus' 'hunter2' "):
        "unknown command 'AUTH': leave 'password' out",
    (b'AUTH', '-ERR unknown command `AUTH`, with args beginning with: `evbus`, `hunter2`, '):
        "unknown command `AUTH`: leave 'password' out",
    (b'AUTH', '-ERR Client sent AUTH, but no password is set'): "is set: leave 'password' out",
    (b'AUTH', '-ERR AUTH <password> called without any password configured'): "configured: correct 'username' and 'password'",
    (b'AUTH', "-ERR wrong number of arguments for 'auth' command"): "command: leave 'username' out",
    (b'AUTH', '-ERR invalid password'): "password: correct 'password'",
    (b'AUTH', '-WRONGPASS invalid username-password pair'): "pair: correct 'username' and 'password'",
    (b'SELECT', '-ERR DB index is out of range'): "range: correct 'db'",
    (b'SELECT', '-ERR invalid DB index'): "index: correct 'db'",
    (b'SELECT', '-ERR SELECT is not allowed in cluster mode'): "mode: correct 'db'",
}


def test_logins_that_are_refused(adaptor, evbusd, client):
    fakes = [Fake(answer, command) for command, answer in LOGINS]
    routes = [{'default': {'host': '127.0.0.1', 'port': fake.server_address[1], 'username': 'evbus', 'db': 1,
                           'password': adaptor.secret('hunter2'), 'delivery': {'name': f'r{i}'}}}
              for i, fake in enumerate(fakes)]
    daemon = evbusd(json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: routes}))
    client.put('order.created', body_of(1)[0])
    for route, end in zip(wait_outcomes(client, ['broken'] * len(LOGINS)), LOGINS.values(), strict=True):
        assert route['reason'].endswith(end)
        assert assert_balanced(route['ledger'])['queued'] == 1
    assert 'hunter2' not in daemon.log()
    for fake in fakes:
        fake.shutdown()
        fake.server_close()
