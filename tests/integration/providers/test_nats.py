# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only NATS has: streams and none, permissions, keys, several servers."""

import json
import socket
import subprocess
import threading

import pytest

import nats_keys
from adaptor import PASSWORD
from certificates import PASSWORD as KEY_PASSWORD
from evbus_service import assert_balanced, wait_for
from nats_client import Client
from server import Server, accepts, free_port
from test_conformance import conformance, end  # noqa: F401
from trial import body_of, wait_outcomes

QUICK = {'evbus': {'stop_timeout': '100ms'}}


class Other(Server):
    """A server with another configuration."""

    def __init__(self, folder, config):
        super().__init__(folder)
        self.port = free_port()
        (self.folder / 'nats.conf').write_text(f'listen: "127.0.0.1:{self.port}"\n{config}')

    def command(self):
        return ['nats-server', '--config', str(self.folder / 'nats.conf')], {}

    def is_ready(self):
        return accepts(self.port)


@pytest.fixture
def other(folder):
    """other(CONFIG) starts one."""
    servers = []

    def start(config):
        servers.append(Other(folder / f'nats-{len(servers)}', config))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def letters(trial, n):
    """The dead letters, when there are so many: (routing key, reason)."""
    wait_for(lambda: len(trial.dead_letters()) == n, f'{n} dead letters; there are {trial.dead_letters()}')
    return sorted((letter[6], letter[3]) for letter in trial.dead_letters())


# ---- without JetStream ----

def test_without_jetstream(trial, adaptor):
    with adaptor.client() as listener:
        listener.subscribe(f'{trial.destination}x.>')
        listener.flush()
        options = adaptor.options(trial.destination + 'x')
        del options['stream']
        trial.start({**options, 'jetstream': False})
        trial.put(2000)
        trial.wait_delivered()
        assert [(message.headers['Nats-Msg-Id'], message.body) for message in listener.pending()] == trial.sent


def test_a_user_who_may_only_publish(trial, adaptor):
    """Without JetStream nothing has to be heard."""
    with adaptor.client() as listener:
        listener.subscribe(f'{trial.destination}x.>')
        listener.flush()
        options = adaptor.options(trial.destination + 'x')
        del options['stream']
        trial.start({**options, 'jetstream': False, 'user': 'deaf'})
        trial.put(2000)
        trial.wait_delivered()
        assert [(message.headers['Nats-Msg-Id'], message.body) for message in listener.pending()] == trial.sent
    assert 'Permissions Violation' not in adaptor.log()


def test_nobody_listens(trial, adaptor):
    trial.start({**adaptor.options('nobody'), 'jetstream': False})
    trial.put(1)
    trial.wait_delivered()


@pytest.mark.parametrize('subscribe', ['">"', '{ deny: ">" }'], ids=['may listen', 'may not listen'])
def test_what_a_user_may_not_publish_without_jetstream(trial, other, adaptor, subscribe):
    server = other('authorization { users: [ { user: a, password: b }\n'
                   f'{{ user: c, password: d, permissions: {{ publish: "may.>", subscribe: {subscribe} }} }} ] }}')
    with Client(server.port, user='a', password='b') as listener:
        listener.subscribe('may.>')
        listener.flush()
        trial.start({'servers': [f'nats://127.0.0.1:{server.port}'], 'jetstream': False, 'user': 'c',
                     'password': adaptor.secret('d')}, delivery={'batch': {'linger': '200ms'}})
        for key in ('may.1', 'not.1', 'may.2', 'not.2', 'not.1', 'may.3', 'not."2'):
            trial.put_bytes(b'x', key=key)
        ledger = trial.wait_ledger(accepted=7, delivered=3, dead=4)
        assert ledger['retried'] == 0
        dead = letters(trial, 4)
        assert [key for key, _ in dead] == ['not."2', 'not.1', 'not.1', 'not.2']
        assert all('Permissions Violation' in reason for _, reason in dead)
        assert [message.subject for message in listener.pending() if message.subject.startswith('may')] == [
            'may.1', 'may.2', 'may.3']


@pytest.mark.parametrize('step, n', [('close', 10), ('leak', 20)])
def test_routes_without_jetstream_leave_nothing(adaptor, conformance, destination, step, n):  # noqa: F811
    """Not the thread either by which a batch is known to have arrived."""
    options = adaptor.options(destination)
    del options['stream']
    end(conformance(step, n, default={**options, 'jetstream': False, 'delivery': {'batch': 10}}))


def test_a_server_that_is_silent_without_jetstream(trial, adaptor, proxy):
    options = {**adaptor.options('nobody', port=proxy.port), 'jetstream': False}
    trial.start(options, delivery={'timeout': '1s'})
    trial.put(1)
    trial.wait_delivered()
    proxy.cut(0, 'silence')
    trial.put(10)
    trial.wait_state('retrying', 'the server has not answered yet')
    trial.wait_delivered()


# ---- streams ----

def test_a_stream_that_is_not_there_yet(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'subject': f'{trial.destination}.x'}, prepare=False)
    trial.put(3)
    trial.wait_state('broken', 'no stream has its subject')
    trial.wait_ledger(accepted=3, queued=3, dead=0)
    adaptor.prepare(trial.destination)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_subject_of_an_event_that_no_stream_has(trial, adaptor):
    options = {**adaptor.options(trial.destination), 'subject': '{routing_key}'}
    trial.start(options)
    trial.put_bytes(b'1', key=f'{trial.destination}.a')
    for key in ('elsewhere', 'a b', 'a..b', 'a.*', '>', '.a', 'a.', 'a\nb'):
        trial.put_bytes(b'x', key=key)
    trial.put_bytes(b'2', key=f'{trial.destination}.a')
    trial.wait_ledger(accepted=10, delivered=2, dead=8)
    assert dict(letters(trial, 8))['elsewhere'].endswith(f"stream '{trial.destination}' does not have it; add it there")
    assert [event.body for event in trial.received()] == [b'1', b'2']


def test_a_subject_of_the_profile_that_cannot_be_one(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'subject': 'a b'})
    trial.put(1)
    trial.wait_state('broken', "'a b' cannot be a subject")
    trial.wait_ledger(accepted=1, queued=1)


@pytest.mark.parametrize('subject', ['taken', 'free'])
def test_a_stream_that_the_profile_names_wrongly(trial, adaptor, subject):
    """No event is to blame, whatever has its subject; until there is such a stream."""
    options = {**adaptor.options(trial.destination), 'stream': trial.destination + 'x'}
    trial.start({**options, 'subject': trial.destination + ('.' if subject == 'taken' else 'y.') + '{routing_key}'})
    trial.put(3)
    trial.wait_state('broken', f"there is no stream '{trial.destination}x'")
    trial.wait_ledger(accepted=3, queued=3, dead=0)
    adaptor.prepare(trial.destination + 'x')
    trial.wait_ledger(accepted=3, dead=3)
    assert all(reason.endswith(f"stream '{trial.destination}x' does not have it; add it there")
               for _, reason in letters(trial, 3))


def test_a_stream_of_the_event_and_a_subject_of_the_profile(trial, adaptor):
    """What comes of the subject alone holds no event's stream against it."""
    options = {**adaptor.options(trial.destination), 'subject': f'{trial.destination}.not', 'stream': '{routing_key}'}
    trial.start({**options, 'user': 'publisher'}, prepare=False)
    for key in trial.destination, 'elsewhere':
        trial.put_bytes(b'x', key=key)
    trial.wait_state('broken', 'Permissions Violation')
    trial.reconfigure(options)
    trial.wait_state('broken', 'no stream has its subject')
    trial.wait_ledger(accepted=2, queued=2, dead=0)
    adaptor.prepare(trial.destination)
    trial.wait_ledger(accepted=2, delivered=1, dead=1)
    ((key, reason),) = letters(trial, 1)
    assert key == 'elsewhere' and '10060' in reason


def test_a_user_who_may_not_ask_for_the_stream(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'user': 'publisher', 'stream': 'x',
                 'subject': trial.destination + '.{routing_key}'})
    trial.put_bytes(b'x', key='may.1')
    trial.wait_state('broken', 'allow the user to publish to $JS.API.STREAM.INFO.*')
    trial.wait_ledger(accepted=1, queued=1, dead=0)


def test_a_name_that_no_stream_can_have(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'stream': 'a.b'})
    trial.wait_state('broken', "'a.b' cannot be the name of a stream")


def two_routes(trial, adaptor, user):
    """The same events under two subjects of one stream."""
    with adaptor.client() as client:
        client.api(f'STREAM.CREATE.{trial.destination}', name=trial.destination, storage='file',
                   subjects=[f'{trial.destination}{n}.>' for n in 'ab'])
    delivery = {'retry': {'min': '20ms', 'max': '200ms'}}
    return [{'default': {**adaptor.options(trial.destination), 'subject': trial.destination + n + '.may.{routing_key}',
                         'user': user, 'delivery': {**delivery, 'name': n}}} for n in 'ab']


@pytest.mark.parametrize('user', ['evbus', 'publisher'], ids=['may ask', 'may not ask'])
def test_two_routes_into_one_stream(trial, adaptor, evbusd, client, user):
    """A stream knows an id whatever the subject; none of the routes' events counts as another's."""
    routes = two_routes(trial, adaptor, user)
    evbusd(json.dumps({**QUICK, adaptor.name: routes}))
    ids = [client.put('order', body_of(n)[0]) for n in range(300)]
    wait_for(lambda: all(route['ledger']['delivered'] == len(ids) for route in client.routes()), 'both to deliver')
    with adaptor.client() as reader:
        messages = reader.read_stream(trial.destination)
    for n in 'ab':
        assert sorted(message.headers['evbus-id'] for message in messages
                      if message.subject.startswith(trial.destination + n)) == sorted(ids)
    for route in client.routes():
        assert_balanced(route['ledger'])


def test_a_message_too_large_for_its_stream(trial, adaptor):
    adaptor.prepare(trial.destination, max_msg_size=1000)
    trial.start(prepare=False)
    for size in (10, 2000, 10):
        trial.put_bytes(b'x' * size)
    trial.wait_ledger(accepted=3, delivered=2, dead=1)
    ((_, reason),) = letters(trial, 1)
    assert '10054' in reason


def test_a_full_stream_is_waited_for(trial, adaptor):
    adaptor.prepare(trial.destination, max_msgs=50, discard='new')
    trial.start(prepare=False)
    trial.put(80)
    trial.wait_state('retrying', '10077')
    first = trial.received()
    with adaptor.client() as client:
        client.api(f'STREAM.PURGE.{trial.destination}')
    trial.wait_delivered()
    assert len(first) == 50
    assert [(event.id, event.body) for event in first + trial.received()] == trial.sent


def test_an_event_that_comes_again_is_stored_once(trial, adaptor, proxy):
    trial.start(adaptor.options(trial.destination, port=proxy.port), delivery={'timeout': '2s'})
    trial.put(10)
    trial.wait_delivered()
    proxy.cut(1, 'replies')
    trial.put(200)
    assert trial.wait_delivered()['retried'] > 0
    trial.assert_received_once()


def test_what_a_user_may_not_publish(trial, adaptor):
    options = {**adaptor.options(trial.destination), 'subject': trial.destination + '.{routing_key}'}
    trial.start({**options, 'user': 'publisher'}, delivery={'batch': {'linger': '200ms'}})
    for key in ('may.1', 'not.1', 'not.1', 'may.2'):
        trial.put_bytes(b'x', key=key)
    ledger = trial.wait_ledger(accepted=4, delivered=2, dead=2)
    assert ledger['retried'] == 0
    assert all('Permissions Violation' in reason for _, reason in letters(trial, 2))
    trial.reconfigure({**options, 'user': 'publisher', 'subject': trial.destination + '.not'})
    trial.put(1)
    trial.wait_state('broken', 'Permissions Violation')


def test_a_user_who_may_not_ask_for_streams(trial, adaptor):
    """So that nobody knows whether the event's stream is missing, or has only no leader."""
    options = {**adaptor.options(trial.destination), 'subject': trial.destination + '.{routing_key}'}
    trial.start({**options, 'user': 'publisher'}, prepare=False)
    trial.put_bytes(b'x', key='may.1')
    trial.wait_state('retrying', 'allow the user to publish to $JS.API.STREAM.NAMES')
    trial.wait_ledger(accepted=1, queued=1, dead=0)
    adaptor.prepare(trial.destination)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_user_who_may_hear_nothing(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'user': 'deaf'})
    trial.put(1)
    trial.wait_state('broken', 'Permissions Violation for Subscription')
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()


# ---- messages ----

def test_what_a_message_has(trial, adaptor):
    options = {**adaptor.options(trial.destination), 'headers': {'Region': 'eu', 'Key': '{profile}/{routing_key}', 'N': 5}}
    trial.start(options)
    event_id = trial.put_bytes(b'\0', 'image/png', 'a.b', **{
        'traceparent': '00-1', 'Nats-Rollup': 'all', 'nats-msg-id': 'forged', 'evbus-id': 'forged', 'Region': 'forged',
        'content-type': 'forged', 'subject': 'ü', 'two lines': 'x', 'lines': 'a\r\nNats-Rollup: all'})
    trial.wait_delivered()
    with adaptor.client() as client:
        (message,) = client.read_stream(trial.destination)
    time = message.headers.pop('evbus-time')
    assert len(time) == len('2026-01-01T00:00:00.000000Z')
    assert message.subject == f'{trial.destination}.a.b'
    assert message.headers == {
        'Nats-Msg-Id': event_id, 'Nats-Expected-Stream': trial.destination, 'evbus-id': event_id, 'evbus-routing-key': 'a.b',
        'evbus-profile': 'default', 'Content-Type': 'image/png', 'Region': 'eu', 'Key': 'default/a.b', 'N': '5',
        'traceparent': '00-1', 'subject': 'ü', 'lines': 'a  Nats-Rollup: all'}


def test_escapes_of_cloudevents(trial, adaptor):
    """The example of CloudEvents' binding of NATS."""
    trial.start({**adaptor.options(trial.destination), 'cloudevents': 'binary'})
    trial.put_bytes(b'', subject='Euro € 😀', quote='"%"', traceparent='00-1')
    trial.wait_delivered()
    with adaptor.client() as client:
        (message,) = client.read_stream(trial.destination)
    assert message.headers['ce-subject'] == 'Euro%20%E2%82%AC%20%F0%9F%98%80'
    assert message.headers['ce-quote'] == '%22%25%22'
    assert message.headers['traceparent'] == message.headers['ce-traceparent'] == '00-1'
    assert message.headers['ce-datacontenttype'] == 'application/octet-stream'


def test_what_a_large_event_took_is_given_back(adaptor, conformance, destination):  # noqa: F811
    """Its document is made before it turns out to be too large for the server."""
    adaptor.prepare(destination)
    end(conformance('large', default={**adaptor.options(destination), 'cloudevents': 'structured'}))


def test_a_header_that_cannot_be_one(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'headers': {'a: b': 'c'}})
    trial.wait_state('broken', "'a: b' cannot be the name of a header")


# ---- who we are ----

def test_a_token(trial, other, adaptor):
    token = 'a"b\\c'
    server = other(f'authorization {{ token: {json.dumps(token)} }}')
    options = {'servers': [f'127.0.0.1:{server.port}'], 'jetstream': False}
    trial.start({**options, 'token': adaptor.secret(token)})
    trial.put(1)
    trial.wait_delivered()


def test_a_password_with_quotation_marks(trial, other, adaptor):
    server = other('authorization { user: "a b", password: "\\"p\\\\w\\"" }')
    trial.start({'servers': [f'nats://127.0.0.1:{server.port}'], 'jetstream': False, 'user': 'a b',
                 'password': adaptor.secret('"p\\w"')})
    trial.put(1)
    trial.wait_delivered()


def test_an_nkey(trial, other, adaptor, folder):
    user, stranger = nats_keys.Key(folder, 'user'), nats_keys.Key(folder, 'user')
    server = other(f'authorization {{ users: [ {{ nkey: {user.public} }} ] }}')
    options = {'servers': [f'nats://127.0.0.1:{server.port}'], 'jetstream': False}
    trial.start({**options, 'nkey_seed': adaptor.secret(stranger.seed)})
    trial.put(1)
    trial.wait_state('broken', 'Authorization Violation')
    trial.reconfigure({**options, 'nkey_seed': adaptor.secret(user.seed)})
    trial.wait_delivered()
    for key in user, stranger:
        assert key.seed not in trial.daemon.log()


def test_credentials_and_no_jetstream(trial, other, folder):
    operator, account, user = (nats_keys.Key(folder, kind) for kind in ('operator', 'account', 'user'))
    server = other(nats_keys.resolver(operator, account))
    (folder / 'user.creds').write_text(nats_keys.credentials(account, user))
    options = {'servers': [f'nats://127.0.0.1:{server.port}'], 'credentials': str(folder / 'user.creds')}
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', 'JetStream is not turned on at the server')
    trial.wait_ledger(accepted=1, queued=1)
    trial.reconfigure({**options, 'jetstream': False})
    trial.wait_delivered()


def test_tls_that_the_profile_alone_wants(trial, adaptor):
    options = adaptor.options(trial.destination)
    trial.start({**options, 'tls': {'enabled': True}})
    trial.put(1)
    trial.wait_state('broken', 'the server has no TLS')
    trial.reconfigure({**options, 'tls': {'enabled': False}})
    trial.wait_delivered()


def test_a_key_with_a_password_and_a_chain(trial, adaptor, certificates, folder):
    key = folder / 'client.key'
    subprocess.run(['openssl', 'pkey', '-in', certificates.client_key, '-aes256', '-passout', f'pass:{KEY_PASSWORD}',
                    '-out', key], check=True)
    chain = folder / 'client.pem'
    chain.write_text(certificates.client.read_text() + certificates.ca.read_text())
    options = adaptor.tls_options(trial.destination)
    options['tls'].update(cert_file=str(chain), key_file=str(key), key_password=adaptor.secret('wrong'))
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', f"'tls.key_file': no key can be read from {key}")
    options['tls']['key_password'] = adaptor.secret(KEY_PASSWORD)
    trial.reconfigure(options)
    trial.wait_delivered()


MISTAKES = {
    "names a user; give 'user' and 'password'": {'servers': ['nats://me:hunter2@localhost']},
    "number 1 names a user; give 'user'": {'servers': ['nats://me:hunter2/x@localhost']},
    "number 2 names a user; give 'user'": {'servers': ['nats://localhost', 'me:hunter2#x@localhost']},
    "'amqp://localhost' is no URL of a server": {'servers': ['nats://localhost', 'amqp://localhost']},
    "'servers' is empty": {'servers': []},
    "'user' and 'token' are both set": {'user': 'a', 'token': {'env': 'HOME'}},
    "'nkey_seed' is not the seed": {'nkey_seed': {'env': 'HOME'}},
    "'credentials': ": {'credentials': '/nonexistent'},
    "'tls.ca_file': /nonexistent": {'tls': {'ca_file': '/nonexistent'}},
    "'tls.cert_file': ": {'tls': {'cert_file': '/nonexistent'}},
}


def test_mistakes_are_told(adaptor, evbusd, client):
    routes = [{'default': {**options, 'delivery': {'name': f'r{i}'}}} for i, options in enumerate(MISTAKES.values())]
    daemon = evbusd(json.dumps({**QUICK, adaptor.name: routes}))
    for route, text in zip(wait_outcomes(client, ['broken'] * len(MISTAKES)), MISTAKES, strict=True):
        assert text in route['reason'] and 'hunter2' not in route['reason']
    assert 'hunter2' not in daemon.log()


# ---- connections ----

def test_the_next_server_is_used(trial, adaptor, other):
    options = adaptor.options(trial.destination)
    closed = f'nats://127.0.0.1:{free_port()}'
    trial.start({**options, 'servers': [closed, *options['servers']], 'randomize': False})
    trial.put(100)
    trial.wait_delivered()
    trial.assert_received_once()
    assert adaptor.connections()[0]['name'].startswith('evbus-')


def test_a_lost_line_is_found_by_pings(trial, adaptor, proxy):
    """Nothing else would find it before the timeout of the publish."""
    options = {**adaptor.options(trial.destination, port=proxy.port), 'ping_interval': '1s', 'max_pings_out': 1}
    trial.start(options, delivery={'timeout': '10m'})
    trial.put(1)
    trial.wait_delivered()
    proxy.cut(0, 'silence')
    wait_for(lambda: proxy.cuts == 1, 'a ping')
    trial.put(1)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_server_that_says_nothing(trial, adaptor):
    """It takes connections, and nothing but the option ends the wait."""
    with socket.create_server(('127.0.0.1', 0)) as silent:
        servers = [f'nats://127.0.0.1:{silent.getsockname()[1]}']
        options = adaptor.options(trial.destination)
        trial.start({**options, 'servers': servers, 'connect_timeout': '200ms'}, delivery={'timeout': '10m'})
        trial.put(1)
        trial.wait_state('retrying', servers[0])
        trial.reconfigure(options)
        trial.wait_delivered()


def test_servers_are_tried_again(trial, adaptor):
    port = free_port()
    options = {'servers': [f'nats://127.0.0.1:{port}'], 'max_reconnect': 1000, 'reconnect_wait': '20ms'}
    trial.start({**adaptor.options(trial.destination), **options}, delivery={'timeout': '1s'})
    trial.put(1)
    trial.wait_state('retrying', f'longer than 1 s: nats://127.0.0.1:{port}: No server available')


# ---- what JetStream answers ----

ANSWERS = {
    (400, 10002): 'retrying', (503, 10023): 'retrying', (500, 10028): 'retrying', (500, 10047): 'retrying',
    (503, 10008): 'retrying', (503, 10077): 'retrying', (500, 1): 'retrying', (408, 1): 'retrying', (429, 1): 'retrying',
    (503, 10039): 'broken', (503, 10076): 'broken', (503, 10035): 'broken', (400, 10120): 'broken', (403, 1): 'broken',
    (400, 10054): 'dead', (400, 10097): 'dead', (400, 1): 'dead',
    (404, 10059): 'address', (400, 10060): 'address', (400, 10109): 'address', (404, 1): 'address',
    (409, 10158): 'retrying', 'nonsense': 'address', '{"seq"': 'address', '{"seq":1}': 'address',
    '{"stream":"S"}': 'address', '{"stream":"S", "seq":1}': 'delivered', '{"stream":"error","seq":1}': 'delivered',
}
# Of what the event is asked about then.
LOOKUPS = {'STREAM.NAMES': '{"total":0,"streams":null}'}


def respond(client, stop):
    """Answers every message on a subject with the answer of its number."""
    client.socket.settimeout(0.2)
    answers = list(ANSWERS)
    while not stop.is_set():
        try:
            message = client.message()
        except TimeoutError:
            client.stream = client.socket.makefile('rb')
            continue
        if message.subject.startswith('$JS.API.'):
            client.publish(message.reply, LOOKUPS[message.subject[len('$JS.API.'):]].encode())
            continue
        answer = answers[int(message.subject.split('.')[1])]
        if isinstance(answer, tuple):
            http, code = answer
            answer = json.dumps({'stream': 'S', 'seq': 0, 'error': {'code': http, 'err_code': code, 'description': 'no'}})
        client.publish(message.reply, answer.encode())


@pytest.mark.parametrize('fixed', [True, False], ids=['of the profile', 'of the event'])
def test_every_answer_has_its_outcome(other, adaptor, evbusd, client, fixed):
    server = other('')
    with Client(server.port) as responder:
        responder.subscribe('s.>')
        responder.subscribe('$JS.API.>')
        responder.flush()
        stop = threading.Event()
        thread = threading.Thread(target=respond, args=[responder, stop])
        thread.start()
        routes = [{'default': {'servers': [f'nats://127.0.0.1:{server.port}'], 'delivery': {'name': f'r{i}'},
                               'subject': f's.{i}' + ('' if fixed else '.{routing_key}')}} for i in range(len(ANSWERS))]
        evbusd(json.dumps({**QUICK, adaptor.name: routes}))
        client.put('order', body_of(1)[0])
        address = 'broken' if fixed else 'dead'
        wanted = [address if outcome == 'address' else outcome for outcome in ANSWERS.values()]
        wait_outcomes(client, wanted)
        stop.set()
        thread.join()
