# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only MQTT has: its versions, qualities of service, codes, properties, wills."""

import contextlib
import json
import os
import socket
import subprocess

import pytest

import adaptor_amqp
from adaptor import PASSWORD, Received
from adaptor_mqtt import MAX_PACKET
from certificates import PASSWORD as KEY_PASSWORD
from evbus_service import wait_for
from fake_mqtt import FakeMqtt
from proxy import Proxy
from server import free_port
from test_cloudevents import validator  # noqa: F401
from trial import body_of, wait_outcomes


LONG = bool(os.environ.get('EVBUS_TEST_LONG'))


def letters(trial, n):
    """The dead letters, when there are so many: (routing key, reason)."""
    wait_for(lambda: len(trial.dead_letters()) == n, f'{n} dead letters; there are {trial.dead_letters()}')
    return sorted((letter[6], letter[3]) for letter in trial.dead_letters())


# ---- versions and qualities of service ----

@pytest.mark.parametrize('version', ['3.1.1', 5])
@pytest.mark.parametrize('qos', [1, 2])
def test_each_quality_of_service(trial, adaptor, validator, version, qos):  # noqa: F811
    """In 3.1.1 the id is in the body."""
    trial.start({**adaptor.options(trial.destination), 'protocol_version': version, 'qos': qos, 'cloudevents': 'structured'})
    trial.put(2000)
    ledger = trial.wait_delivered()
    assert ledger['retried'] == 0
    events = [json.loads(event.body) for event in trial.received()]
    assert [(event['id'], event['data']) for event in events] == [(id_, json.loads(data)) for id_, data in trial.sent]
    for event in events[-20:]:
        validator.validate(event)


def test_written_is_delivered(trial, adaptor):
    """With QoS 0, to somebody who listens; what the server has kept tells that he does."""
    adaptor.publish(trial.destination, '-r', '-m', 'ready')
    with adaptor.reading(adaptor.client('mosquitto_sub', '-t', f'{trial.destination}/#')) as messages:
        next(messages)
        trial.start({**adaptor.options(trial.destination), 'qos': 0})
        trial.put(2000)
        assert trial.wait_delivered()['retried'] == 0
        assert [next(messages)[1] for _ in trial.sent] == [data for _, data in trial.sent]


def test_a_body_alone(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'protocol_version': '3.1.1'})
    trial.put(100)
    trial.wait_delivered()
    received = trial.received()
    assert [(event.body, event.headers) for event in received] == [(data, {}) for _, data in trial.sent]


def test_an_event_too_large_without_a_word(trial, adaptor):
    """A server of 3.1.1 ends the connection. What is as small as what it has taken is not to blame."""
    with adaptor.refuses(trial.destination) as size:
        trial.start({**adaptor.options(trial.destination), 'protocol_version': '3.1.1'}, broker={'event_bytes': '8MiB'})
        trial.put(50)
        event_id = trial.put_bytes(b'x' * size)
        trial.sent.pop()
        trial.put(50)
        trial.wait_ledger(accepted=101, delivered=100, dead=1, queued=0)
        (letter,) = wait_for(trial.dead_letters, 'the dead letter')
        assert letter[4] == event_id and 'too large' in letter[3]
    # Some of what was sent with it comes again.
    bodies = [event.body for event in trial.received()]
    assert list(dict.fromkeys(bodies)) == [data for _, data in trial.sent]


def test_connections_that_end_on_small_events(trial):
    """A server in trouble, or a line that is cut, kills no event."""
    with contextlib.closing(FakeMqtt()) as fake:
        trial.start({'host': '127.0.0.1', 'port': fake.port, 'topic': 't', 'protocol_version': '3.1.1'}, prepare=False)
        trial.put(1)
        trial.wait_delivered()
        fake.hang_up = True
        trial.put_bytes(b'x')
        wait_for(lambda: len(fake.published) > 10, 'ten connections to end')
        trial.wait_ledger(accepted=2, delivered=1, queued=1, dead=0)
        fake.hang_up = False
        trial.wait_delivered()


def test_connections_that_end_from_the_start(trial):
    """As where the user may not publish: it is no event's fault, unless one is larger than any server minds."""
    with contextlib.closing(FakeMqtt()) as fake:
        fake.hang_up = True
        trial.start({'host': '127.0.0.1', 'port': fake.port, 'topic': 't', 'protocol_version': '3.1.1'}, prepare=False)
        large = trial.put_bytes(b'x' * (64 * 1024 + 1))
        trial.sent.pop()
        wait_for(trial.dead_letters, 'the dead letter')
        trial.put(3)
        trial.wait_state('retrying', 'does not let the user publish there, or the event is too large for it')
        begun = len(fake.published)
        wait_for(lambda: len(fake.published) > begun + 10, 'ten more connections to end')
        trial.wait_ledger(accepted=4, dead=1, queued=3, delivered=0)
        assert [letter[4] for letter in trial.dead_letters()] == [large]
        fake.hang_up = False
        trial.wait_ledger(accepted=4, dead=1, queued=0, delivered=3)


def test_a_window_smaller_than_a_batch(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'max_inflight': 3})
    trial.put(500)
    trial.wait_delivered()
    trial.assert_received_once()


@pytest.mark.parametrize('options, window', [
    ({}, 7), ({'max_inflight': 3}, 3), ({'max_inflight': 5, 'protocol_version': '3.1.1'}, 5),
])
def test_no_more_is_in_flight_than_the_server_takes(trial, options, window):
    fake = FakeMqtt(receive_maximum=7)
    fake.hold = True
    trial.start({'host': '127.0.0.1', 'port': fake.port, **options}, prepare=False)
    trial.put(30)
    wait_for(lambda: fake.published and len(fake.published[0]) == window, 'the window to be full')
    fake.clients[0].acknowledge(1)
    wait_for(lambda: len(fake.published[0]) == window + 1, 'one more')
    fake.hold = False
    for number in range(2, window + 2):
        fake.clients[0].acknowledge(number)
    trial.wait_delivered()
    assert [number for number, _, _ in fake.published[0]] == list(range(1, 31))
    fake.close()


def test_nothing_is_sent_again_but_by_the_route(trial):
    """What the library remembers goes with the connection."""
    fake = FakeMqtt()
    fake.hold = True
    # The first batch has them all.
    trial.start({'host': '127.0.0.1', 'port': fake.port}, prepare=False,
                delivery={'batch': {'events': 20, 'linger': '60s'}})
    trial.put(20)
    wait_for(lambda: fake.published and len(fake.published[0]) == 20, 'all to be sent')
    fake.hold = False
    fake.clients[0].connection.shutdown(2)
    trial.wait_delivered()
    again = [message for connection in fake.published[1:] for message in connection]
    assert len(again) == 20 and not any(duplicate for _, duplicate, _ in again)
    fake.close()


def test_clean_session_false(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'clean_session': False, 'client_id': f'mine-{trial.destination}'})
    trial.put(100)
    trial.wait_delivered()
    trial.assert_received_once()
    assert f'as mine-{trial.destination} (p5, c0' in adaptor.log()


def test_more_than_there_are_numbers(trial, adaptor):
    """A connection numbers its messages with 16 bits; EVBUS_TEST_LONG: that far."""
    with contextlib.closing(FakeMqtt()) as fake:
        trial.start({'host': '127.0.0.1', 'port': fake.port}, prepare=False, delivery={
            'batch': {'events': 65536, 'bytes': '256MiB'}, 'window': {'events': 65536, 'bytes': '256MiB'}})
        n = 70000 if LONG else 1000
        trial.put(n)
        trial.wait_delivered()
        assert sum(map(len, fake.published)) == n


# ---- messages ----

def test_what_a_message_has(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'retain': True, 'properties': {
        'message_expiry': '1h', 'response_topic': 'answers/{id}', 'correlation_data': '{routing_key}!',
        'user': {'Region': 'eu', 'key': '{profile}/{routing_key}', 'n': 5}}})
    event_id = trial.put_bytes(b'\0', 'image/png', 'a/b', **{
        'traceparent': '00-1', 'evbus-id': 'forged', 'Region': 'forged', 'subject': 'ü', 'lines': 'a\r\nb'})
    trial.wait_delivered()
    ((message, body),) = adaptor.messages(trial.destination)
    assert (message['topic'], message['qos'], body) == (f'{trial.destination}/a/b', 1, b'\0')
    properties = message['properties']
    user = properties.pop('user-properties')
    assert len(user.pop('evbus-time')) == len('2026-01-01T00:00:00.000000Z')
    assert user == {'evbus-id': event_id, 'evbus-routing-key': 'a/b', 'evbus-profile': 'default', 'traceparent': '00-1',
                    'subject': 'ü', 'lines': 'a  b', 'Region': 'eu', 'key': 'default/a/b', 'n': '5'}
    assert 3500 < properties.pop('message-expiry-interval') <= 3600
    assert properties == {'content-type': 'image/png', 'response-topic': f'answers/{event_id}', 'correlation-data': 'a/b!'}
    kept = subprocess.run([*adaptor.client('mosquitto_sub', '-t', f'{trial.destination}/a/b', '-C', '1', '-F', '%r')],
                          check=True, capture_output=True)
    assert kept.stdout == b'1\n'


def test_another_content_type(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'properties': {'content_type': 'text/x'}})
    trial.put(1)
    trial.wait_delivered()
    assert trial.received()[0].content_type == 'text/x'


NO_TOPICS = 'a/+', 'a/#', '#', '$SYS', '$SYS/a', '$share/a/b', 'a\nb'


def test_topics_that_are_none(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'topic': '{routing_key}'})
    trial.put_bytes(b'1', key=f'{trial.destination}/a')
    for key in NO_TOPICS:
        trial.put_bytes(b'x', key=key)
    trial.put_bytes(b'2', key=f'{trial.destination}/a')
    ledger = trial.wait_ledger(accepted=2 + len(NO_TOPICS), delivered=2, dead=len(NO_TOPICS))
    assert ledger['retried'] == 0
    assert all('cannot be a topic' in reason for _, reason in letters(trial, len(NO_TOPICS)))
    assert [event.body for event in trial.received()] == [b'1', b'2']


def test_a_topic_of_the_profile_that_is_none(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'topic': 'a/#'})
    trial.put(1)
    trial.wait_state('broken', "'a/#' cannot be a topic to publish to")
    trial.wait_ledger(accepted=1, queued=1)


def test_what_a_user_may_not_publish(trial, adaptor):
    options = {**adaptor.options(trial.destination), 'username': 'publisher', 'topic': '{routing_key}'}
    trial.start(options, delivery={'batch': {'linger': '200ms'}})
    for key in 'may/1', 'not/1', 'may/2':
        trial.put_bytes(b'x', key=key)
    # Mosquitto 2.0.11 hangs up after a refusal: what is behind it goes out again.
    trial.wait_ledger(accepted=3, delivered=2, dead=1)
    ((key, reason),) = letters(trial, 1)
    assert key == 'not/1' and 'Not authorized' in reason
    trial.reconfigure({**options, 'topic': 'not'})
    trial.put(1)
    trial.wait_state('broken', 'Not authorized')


def test_too_large_with_each_quality_of_service(trial, adaptor):
    for qos in 0, 2:
        trial.start({**adaptor.options(trial.destination), 'qos': qos}, broker={'event_bytes': '8MiB'})
        trial.put(3)
        trial.put_bytes(b'x' * MAX_PACKET)
        trial.put(3)
        wait_for(lambda: len(trial.dead_letters()) == (1 if qos == 0 else 2), 'the dead letter')
        trial.daemon.stop()


# ---- the end ----

def test_a_will(trial, adaptor):
    listener = subprocess.Popen(adaptor.client('mosquitto_sub', '-t', f'{trial.destination}-will', '-C', '1', '-F', '%p'),
                                stdout=subprocess.PIPE)
    options = adaptor.options(trial.destination)
    trial.start({**options, 'will': {'topic': f'{trial.destination}-will', 'payload': 'gone', 'retain': True}})
    trial.put(1)
    trial.wait_delivered()
    # A reload says farewell.
    trial.reconfigure({**options, 'will': {'topic': f'{trial.destination}-will', 'payload': 'killed', 'qos': 1, 'retain': True}})
    trial.put(1)
    trial.wait_delivered()
    trial.daemon.kill()
    assert listener.communicate(timeout=60)[0] == b'killed\n'


# ---- who we are ----

def test_a_key_with_a_password_and_a_chain(trial, adaptor, certificates, folder):
    chain = folder / 'client.pem'
    chain.write_text(certificates.client.read_text() + certificates.ca.read_text())
    options = adaptor.tls_options(trial.destination)
    options['tls'].update(cert_file=str(chain), key_file=str(certificates.client_encrypted_key),
                          key_password=adaptor.secret('wrong'))
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', f"'tls.key_file': cannot use {certificates.client_encrypted_key}")
    options['tls']['key_password'] = adaptor.secret(KEY_PASSWORD)
    trial.reconfigure(options)
    trial.wait_delivered()


def test_tls_to_a_port_without_it(trial, adaptor):
    trial.start({**adaptor.tls_options(trial.destination), 'port': adaptor.port})
    trial.put(1)
    wait_for(lambda: trial.route()['state'] in ('broken', 'retrying'), 'the route to fail')
    trial.wait_ledger(accepted=1, queued=1)


MISTAKES = {
    "'keepalive' must be 0, or 5 seconds or more": {'keepalive': 4},
    "'properties' need 'protocol_version: 5'": {'protocol_version': '3.1.1', 'properties': {'content_type': 'x'}},
    "'cloudevents: binary' needs 'protocol_version: 5'": {'protocol_version': '3.1.1', 'cloudevents': 'binary'},
    "'password' needs a 'username'": {'protocol_version': '3.1.1', 'password': {'env': 'HOME'}},
    "'clean_session: false' and 'qos: 2'": {'clean_session': False, 'qos': 2},
    "'tls.key_file' needs a 'tls.cert_file'": {'tls': {'key_file': '/nonexistent'}},
    "'will.payload' needs a 'will.topic'": {'will': {'payload': 'x'}},
    "'will.topic': 'a/#' cannot be a topic": {'will': {'topic': 'a/#'}},
    "'tls.ca_file': cannot use /nonexistent": {'tls': {'ca_file': '/nonexistent'}},
    "'tls.cert_file': cannot use /nonexistent": {'tls': {'cert_file': '/nonexistent'}},
}


def test_mistakes_are_told(adaptor, evbusd, client):
    options = {'host': '127.0.0.1', 'port': adaptor.port}
    routes = [{'default': {**options, **mistake, 'delivery': {'name': f'r{i}'}}} for i, mistake in enumerate(MISTAKES.values())]
    evbusd(json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: routes}))
    for route, text in zip(wait_outcomes(client, ['broken'] * len(MISTAKES)), MISTAKES, strict=True):
        assert text in route['reason']


# ---- connections ----

def test_a_lost_line_is_found_by_pings(trial, adaptor, proxy):
    """Nothing else would find it before the timeout of the publish."""
    trial.start({**adaptor.options(trial.destination, port=proxy.port), 'keepalive': 5}, delivery={'timeout': '10m'})
    trial.put(1)
    trial.wait_delivered()
    proxy.cut(0, 'silence')
    wait_for(lambda: proxy.cuts == 1, 'a ping')
    trial.put(1)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_host_that_does_not_answer(trial, adaptor):
    """One that takes no connections, as behind a firewall that drops them, and one that says nothing."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        silent = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        options = {**adaptor.options(trial.destination), 'connect_timeout': '200ms'}
        trial.start({**options, 'port': full.getsockname()[1]}, delivery={'timeout': '10m'})
        trial.put(3)
        trial.wait_state('retrying', "'connect_timeout'")
        trial.reconfigure({**options, 'port': silent.getsockname()[1]}, delivery={'timeout': '10m'})
        trial.wait_state('retrying', f"{silent.getsockname()[1]}: the server does not answer in time")
        trial.reconfigure(options)
        trial.wait_delivered()
        trial.assert_received_once()


# ---- a server that stores first ----

class Rabbit(adaptor_amqp.Adaptor):
    """RabbitMQ with its plugin for MQTT, which knows 3.1.1: the id is in the body."""

    plugins = 'rabbitmq_mqtt'

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        self.mqtt_port = free_port()
        self.settings = f'mqtt.listeners.tcp.1 = 127.0.0.1:{self.mqtt_port}\nmqtt.allow_anonymous = false\n'

    def prepare(self, destination):
        """A durable queue, to which all topics below that name lead."""
        with self.channel() as channel:
            channel.queue_declare(destination, durable=True)
            channel.queue_bind(destination, 'amq.topic', f'{destination}.#')

    def receive(self, properties, body):
        event = json.loads(body)
        return Received(event['id'], json.dumps(event['data'], separators=(',', ':'), ensure_ascii=False).encode())


def test_a_server_that_stores_what_it_acknowledges(trial, adaptor, certificates):
    """Killed with -9 while events are under way it has lost nothing, unlike Mosquitto, which is
    made to save before. With EVBUS_TEST_LONG alone: it starts too slowly for each run."""
    if not LONG:
        return
    with contextlib.ExitStack() as stack:
        rabbit = Rabbit(adaptor.folder / 'rabbit', certificates)
        stack.callback(rabbit.stop)
        rabbit.start()
        proxy = stack.enter_context(contextlib.closing(Proxy(rabbit.mqtt_port)))
        proxy.latency = 0.05
        trial.adaptor = rabbit
        rabbit.prepare(trial.destination)
        options = {'host': '127.0.0.1', 'port': proxy.port, 'username': adaptor_amqp.USER,
                   'password': rabbit.secret(PASSWORD), 'topic': f'{trial.destination}/{{routing_key}}',
                   'protocol_version': '3.1.1', 'cloudevents': 'structured'}
        trial.start(options, prepare=False, delivery={'batch': 100, 'timeout': '2s'})
        trial.put(4000)
        wait_for(lambda: trial.route()['ledger']['delivered'] > 400, 'some deliveries', 60)
        rabbit.kill()
        assert 400 < trial.route()['ledger']['delivered'] < 4000
        trial.put(100)
        trial.wait_state('retrying', str(proxy.port))
        rabbit.start()
        trial.wait_delivered()
        trial.assert_nothing_lost()


# ---- codes ----

CODES = {
    ('puback', 0x00): 'delivered', ('puback', 0x10): 'delivered',
    ('puback', 0x80): 'retrying', ('puback', 0x83): 'retrying', ('puback', 0x91): 'retrying', ('puback', 0x97): 'retrying',
    ('puback', 0x87): 'address', ('puback', 0x90): 'address', ('puback', 0x99): 'dead',
    ('disconnect', 0x8b): 'retrying', ('disconnect', 0x8e): 'retrying', ('disconnect', 0x93): 'retrying',
    ('disconnect', 0x96): 'retrying', ('disconnect', 0x98): 'retrying',
    ('disconnect', 0x82): 'broken', ('disconnect', 0x9a): 'broken', ('disconnect', 0x9b): 'broken',
    ('disconnect', 0x87): 'broken', ('disconnect', 0x90): 'address',
    ('disconnect', 0x81): 'dead', ('disconnect', 0x95): 'dead', ('disconnect', 0x99): 'dead',
    ('connack', 0x80): 'retrying', ('connack', 0x88): 'retrying', ('connack', 0x89): 'retrying',
    ('connack', 0x97): 'retrying', ('connack', 0x9f): 'retrying',
    ('connack', 0x81): 'broken', ('connack', 0x82): 'broken', ('connack', 0x84): 'broken', ('connack', 0x85): 'broken',
    ('connack', 0x86): 'broken', ('connack', 0x87): 'broken', ('connack', 0x8a): 'broken', ('connack', 0x8c): 'broken',
    ('connack', 0x90): 'broken', ('connack', 0x95): 'broken', ('connack', 0x9a): 'broken', ('connack', 0x9d): 'broken',
    ('3.1.1', 1): 'broken', ('3.1.1', 2): 'broken', ('3.1.1', 3): 'retrying', ('3.1.1', 4): 'broken', ('3.1.1', 5): 'broken',
}


@pytest.mark.parametrize('fixed', [True, False], ids=['of the profile', 'of the event'])
def test_every_code_has_its_outcome(adaptor, evbusd, client, fixed):
    fakes, routes = [], []
    for i, (packet, code) in enumerate(CODES):
        fakes.append(FakeMqtt(**{'connack' if packet == '3.1.1' else packet: code}))
        routes.append({'default': {'host': '127.0.0.1', 'port': fakes[-1].port, 'delivery': {'name': f'r{i}'},
                                   'topic': 'orders' if fixed else '{routing_key}',
                                   'protocol_version': '3.1.1' if packet == '3.1.1' else 5}})
    evbusd(json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: routes}))
    client.put('order', body_of(1)[0])
    address = 'broken' if fixed else 'dead'
    wanted = [address if outcome == 'address' else outcome for outcome in CODES.values()]
    wait_outcomes(client, wanted)
    for fake in fakes:
        fake.close()
