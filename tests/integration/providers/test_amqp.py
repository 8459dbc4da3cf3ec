# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only AMQP has: exchanges, messages that come back, a server that is full."""

import contextlib
import json
import socket
import urllib.parse

import pytest
from pika import spec

from adaptor import PASSWORD
from adaptor_amqp import USER
from certificates import PASSWORD as KEY_PASSWORD
from evbus_service import MANAGER, CallError, assert_balanced, wait_for
from fake_amqp import DeafServer, FakeServer
from trial import DEADLINE, body_of, outcome_of, wait_outcomes


def without_key(adaptor, destination, **options):
    """The profile, with each event's own routing key."""
    data = adaptor.options(destination)
    del data['routing_key']
    return {**data, **options}


def take_one(adaptor, queue):
    with adaptor.channel() as channel:
        return channel.basic_get(queue, auto_ack=True)


def test_what_a_message_has(trial, adaptor):
    options = without_key(adaptor, trial.destination, exchange=trial.destination, expiration='1h', priority=7,
                          headers={'shop': 'x-{profile}', 'n': 5, 'share': 2.0, 'good': True, 'evbus-id': 'forged'})
    trial.start(options)
    event_id = trial.put_bytes(b'\0', 'image/png', traceparent='00-1', subject='ü', shop='forged',
                               **{'evbus-id': 'forged', 'cloudEvents:id': 'forged', 'CC': 'forged', 'BCC': 'forged'})
    trial.wait_delivered()
    method, properties, body = take_one(adaptor, trial.destination)
    assert (method.exchange, method.routing_key, body) == (trial.destination, 'order.created', b'\0')
    assert (properties.message_id, properties.content_type, properties.delivery_mode) == (event_id, 'image/png', 2)
    assert (properties.expiration, properties.priority) == ('3600000', 7)
    headers = properties.headers
    # (This version of pika makes integers of doubles.)
    assert len(headers.pop('evbus-time')) == len('2026-01-01T00:00:00.000000Z')
    assert properties.timestamp > 1700000000
    assert headers == {'evbus-id': event_id, 'evbus-routing-key': 'order.created', 'evbus-profile': 'default',
                       'shop': 'x-default', 'n': 5, 'share': 2.0, 'good': True, 'traceparent': '00-1', 'subject': 'ü'}
    assert type(headers['good']) is bool


def test_a_header_that_rabbitmq_takes_for_copies(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'headers': {'CC': 'other'}})
    trial.put(1)
    trial.wait_state('broken', "'headers.CC'")
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()
    trial.assert_received_once()


def test_what_a_cloudevent_has(trial, adaptor):
    """Each of its attributes with the prefix of CloudEvents' binding, and no other header with it."""
    trial.start({**adaptor.options(trial.destination), 'headers': {'shop': 'x-{profile}'}, 'cloudevents': 'binary'})
    event_id = trial.put_bytes(b'\0', 'image/png', traceparent='00-1', subject='ü')
    trial.wait_delivered()
    _, properties, body = take_one(adaptor, trial.destination)
    headers = properties.headers
    assert (properties.content_type, body) == ('image/png', b'\0')
    assert len(headers.pop('cloudEvents:time')) == len('2026-01-01T00:00:00.000000Z')
    assert headers == {'cloudEvents:specversion': '1.0', 'cloudEvents:id': event_id, 'cloudEvents:source': '/evbus',
                       'cloudEvents:type': 'order.created', 'cloudEvents:subject': 'ü', 'cloudEvents:traceparent': '00-1',
                       'traceparent': '00-1', 'shop': 'x-default'}


def test_not_persistent(trial, adaptor):
    trial.start({**adaptor.options(trial.destination), 'persistent': False})
    trial.put(1)
    trial.wait_delivered()
    assert take_one(adaptor, trial.destination)[1].delivery_mode == 1


def test_an_exchange_is_declared(trial, adaptor):
    name = f'new-{trial.destination}'
    options = without_key(adaptor, trial.destination, exchange=name, exchange_type='fanout', declare=True)
    trial.start(options)
    trial.put(10)
    # No key of an event is to blame there.
    trial.wait_state('broken', 'NO_ROUTE')
    trial.wait_ledger(accepted=10, delivered=0, queued=10, dead=0)
    with adaptor.channel() as channel:
        channel.queue_bind(trial.destination, name)
    trial.wait_delivered()
    trial.assert_received_once()
    trial.reconfigure({**options, 'exchange_type': 'topic'})
    trial.put(1)
    reason = trial.wait_state('broken')
    assert '406 PRECONDITION_FAILED' in reason and "'type'" in reason


@pytest.mark.parametrize('options', [{'routing_key': 'nowhere'}, {'exchange': 'nowhere', 'routing_key': 'x'}])
def test_an_address_of_the_profile_that_is_not_there(trial, adaptor, options):
    trial.start({**adaptor.options(trial.destination), **options})
    trial.put(5)
    trial.wait_state('broken', 'nowhere')
    trial.wait_ledger(accepted=5, delivered=0, queued=5, dead=0)
    with adaptor.channel() as channel:
        if 'exchange' in options:
            channel.exchange_declare('nowhere', 'fanout', durable=True)
            channel.queue_bind(trial.destination, 'nowhere')
        else:
            channel.queue_declare('nowhere', durable=True)
    trial.wait_delivered()
    with adaptor.channel() as channel:
        channel.exchange_delete('nowhere')
        channel.queue_delete('nowhere')


@pytest.mark.parametrize('options', [{}, {'exchange': '{routing_key}'}])
def test_an_address_of_an_event_that_is_not_there(trial, adaptor, options):
    trial.start(without_key(adaptor, trial.destination, **options))
    for i in range(20):
        trial.put_bytes(b'%d' % i, key=trial.destination)
        if i % 7 == 0:
            trial.put_bytes(b'lost', key='nowhere')
            trial.sent.pop()
    trial.wait_ledger(accepted=23, delivered=20, dead=3, queued=0)
    letters = wait_for(lambda: len(trial.dead_letters()) == 3 and trial.dead_letters(), 'the dead letters')
    assert all('nowhere' in letter[3] for letter in letters)
    trial.assert_nothing_lost()


def test_an_event_whose_headers_nobody_wants(trial, adaptor):
    """Though the routing key is the profile's, which decides nothing there."""
    name = f'new-{trial.destination}'
    trial.start({**adaptor.options(trial.destination), 'exchange': name, 'exchange_type': 'headers', 'declare': True})
    trial.wait_state('running')
    with adaptor.channel() as channel:
        channel.queue_bind(trial.destination, name, arguments={'shop': 'eu'})
    for shop in 'eu', 'us', 'eu':
        trial.put_bytes(b'x', shop=shop)
    trial.wait_ledger(accepted=3, delivered=2, dead=1, queued=0)
    (letter,) = wait_for(trial.dead_letters, 'the dead letter')
    assert letter[4] == trial.sent.pop(1)[0]
    trial.assert_received_once()


def test_nobody_has_to_take_it(trial, adaptor):
    trial.start({**adaptor.options('nowhere'), 'mandatory': False})
    trial.put(100)
    trial.wait_delivered()


def test_names_that_are_too_long(trial, adaptor):
    trial.start(without_key(adaptor, trial.destination, routing_key='{profile}.{routing_key}'))
    for attributes in {}, {'x' * 256: 'y'}:
        trial.put_bytes(b'x', key='k' * 255 if not attributes else 'k', **attributes)
    trial.wait_ledger(accepted=2, delivered=0, dead=2)
    letters = wait_for(lambda: len(trial.dead_letters()) == 2 and trial.dead_letters(), 'the dead letters')
    assert all('255 bytes' in letter[3] for letter in letters)


def test_a_queue_that_is_full(trial, adaptor):
    """It does not take more; the server says so, and the event waits."""
    queue = f'full-{trial.destination}'
    with adaptor.channel() as channel:
        channel.queue_declare(queue, durable=True, arguments={'x-max-length': 5, 'x-overflow': 'reject-publish'})
    trial.start({**adaptor.options(queue)})
    trial.put(8)
    trial.wait_state('retrying', 'could not keep')
    trial.wait_ledger(accepted=8, dead=0)
    seen = {event.id for event in adaptor.read(queue)}
    ledger = trial.wait_ledger(accepted=8, delivered=8, dead=0, queued=0)
    assert ledger['retried'] > 0
    seen |= {event.id for event in adaptor.read(queue)}
    assert seen == {event_id for event_id, _ in trial.sent}


def test_the_longest_expiration(trial, adaptor):
    """That the server takes: it would refuse each event of a profile with a longer one."""
    options = {**adaptor.options(trial.destination), 'expiration': '3650d'}
    trial.start(options)
    trial.put(1)
    trial.wait_delivered()
    assert take_one(adaptor, trial.destination)[1].expiration == '315360000000'
    with pytest.raises(CallError, match="'expiration'"):
        trial.reconfigure({**options, 'expiration': '3651d'})


def test_a_server_that_is_out_of_memory(trial, adaptor):
    """It takes no messages for a while, and tells why; nothing more is sent to it until then."""
    adaptor.control('set_vm_memory_high_watermark', '0.00001')
    try:
        trial.start(delivery={'timeout': '1s'})
        trial.put(100)
        wait_for(lambda: 'low on memory' in trial.route()['reason'], 'the reason')
        trial.wait_ledger(accepted=100, delivered=0, queued=100)
    finally:
        adaptor.control('set_vm_memory_high_watermark', '0.4')
    trial.wait_delivered()
    trial.assert_nothing_lost()
    # Once by the first call, which was given up, and once by the last.
    assert len(trial.received()) <= 200


@pytest.fixture
def deaf():
    """deaf() starts a server that reads no more once a message has come."""
    servers = []

    def start(**settings):
        servers.append(DeafServer(**settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def fill_link(trial, server):
    """More than the way to the server holds, in one call that nothing but the test ends."""
    trial.start({'connection': {'host': '127.0.0.1', 'port': server.server_address[1]}, 'routing_key': trial.destination},
                delivery={'batch': {'events': 200, 'bytes': '16MiB', 'linger': '10m'}, 'timeout': '10m'})
    for _ in range(200):
        trial.put_bytes(bytes(32768))
    wait_for(server.is_full, 'the link to be full')


def test_a_full_link_is_closed_at_once(trial, adaptor, deaf):
    """The server has said why it takes no more; nothing is sent to say good-bye."""
    server = deaf()
    fill_link(trial, server)
    server.block()
    trial.daemon.wait_log('the server takes no messages for now: full')
    assert server.client()[0] == '01'
    # The new route begins when the old one has closed.
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()
    assert server.client() is None or server.client()[0] != '01'
    trial.assert_received_once()


def test_a_full_link_that_takes_no_heartbeat_is_lost(trial, adaptor, deaf):
    fill_link(trial, deaf(heartbeat=1))
    trial.wait_state('retrying', 'not even a heartbeat')
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()
    trial.assert_received_once()


def test_servers_that_say_nothing_hold_up_no_other_route(adaptor, evbusd, client, destination, certificates):
    """Thirty connections wait in the middle of TLS's handshake, each for a minute."""
    def config(routes):
        return json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: [{'default': route} for route in routes]})

    adaptor.prepare(destination)
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        silent.settimeout(DEADLINE)
        # (To read all of the system's authorities takes a while.)
        connection = {'host': '127.0.0.1', 'port': silent.getsockname()[1], 'ssl_options': {'cafile': str(certificates.ca)}}
        routes = [{'connection': connection, 'timeout': '1m', 'delivery': {'name': f'silent-{i}', 'timeout': '2m'}}
                  for i in range(30)]
        daemon = evbusd(config(routes))
        for _ in routes:
            assert stack.enter_context(silent.accept()[0]).recv(1) == b'\x16'
        routes.append({**adaptor.options(destination), 'delivery': {'name': 'healthy'}})
        daemon.config.write_text(config(routes))
        client.call('Reload', interface=MANAGER)
        client.put('order.created', body_of(0)[0])
        wait_for(lambda: outcome_of(client.routes()[-1]) == 'delivered', 'the healthy one to deliver', 5)
        assert [event.body for event in adaptor.read(destination)] == [body_of(0)[1]]
        assert [assert_balanced(route['ledger'])['queued'] for route in client.routes()] == [1] * 30 + [0]


@pytest.mark.parametrize('name', ['pika', 'rabbitmq'])
def test_other_names(trial, name):
    trial.provider = name
    trial.start()
    trial.put(10)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_url_without_a_login(trial, adaptor):
    """The options say what it does not."""
    options = adaptor.options(trial.destination)
    login = {name: options['connection'][name] for name in ('login', 'password')}
    trial.start({**options, 'connection': {**login, 'url': f'amqp://127.0.0.1:{adaptor.port}/'}})
    trial.put(1)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_url(trial, adaptor):
    password = urllib.parse.quote(PASSWORD, safe='')
    url = adaptor.secret(f'amqp://{USER}:{password}@127.0.0.1:{adaptor.port}/%2F')
    trial.start({'connection': {'url': url}, 'routing_key': trial.destination})
    trial.put(5)
    trial.wait_delivered()
    trial.assert_received_once()
    for text, reason in [(f'http://127.0.0.1:{adaptor.port}/', 'amqp://LOGIN'),
                         (f'amqp://{USER}:{password}@127.0.0.1:{adaptor.port}/?heartbeat=3', "'?'"),
                         (f'amqp://{USER}:{password}@127.0.0.1:{adaptor.port}/nowhere', '530 NOT_ALLOWED')]:
        trial.reconfigure({'connection': {'url': adaptor.secret(text)}, 'routing_key': trial.destination})
        trial.put(1)
        trial.wait_state('broken', reason)


def test_what_the_server_is_told_of_the_client(trial):
    fake = FakeServer(spec.Basic.Ack(1))
    mine = {'connection_name': 'shop', 'region': 'eu', 'n': 5, 'good': True}
    trial.start({'connection': {'host': '127.0.0.1', 'port': fake.server_address[1], 'virtualhost': 'a/b',
                                'client_properties': mine}}, prepare=False)
    trial.put(1)
    trial.wait_delivered()
    (started,) = [method for method in fake.asked if isinstance(method, spec.Connection.StartOk)]
    (opened,) = [method for method in fake.asked if isinstance(method, spec.Connection.Open)]
    assert {**mine, 'product': 'evbus'}.items() <= started.client_properties.items()
    assert opened.virtual_host == 'a/b'
    fake.shutdown()
    fake.server_close()


def test_verification_by_the_names_of_the_client_of_pop_evbus(trial, adaptor, certificates):
    options = adaptor.tls_options(trial.destination)
    tls = options['connection']['ssl_options']
    del tls['cafile'], tls['no_verify_ssl']
    trial.start({**options, 'connection': {**options['connection'], 'ssl_options': {**tls, 'ca_certs': str(certificates.ca)}}})
    trial.put(1)
    trial.wait_delivered()
    tls['ca_certs'] = str(certificates.other_ca)
    for required in 1, 2, 0:
        tls['cert_reqs'] = required
        trial.reconfigure(options)
        trial.put(1)
        if required:
            trial.wait_state('broken', 'certificate')
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_key_with_a_password(trial, adaptor, certificates):
    options = adaptor.tls_options(trial.destination)
    tls = options['connection']['ssl_options']
    tls.update(keyfile=str(certificates.client_encrypted_key), keyfile_password=adaptor.secret(KEY_PASSWORD))
    trial.start(options)
    trial.put(5)
    trial.wait_delivered()
    del tls['keyfile_password']
    trial.reconfigure(options)
    trial.put(1)
    trial.wait_state('broken', "'connection.ssl_options.certfile'")


@pytest.mark.parametrize('text, state', [('false', 'broken'), ('No', 'broken'), ('0', 'broken'), ('true', 'running')])
def test_verification_is_turned_off_by_a_word_for_it_alone(trial, adaptor, certificates, text, state):
    options = adaptor.tls_options(trial.destination, ca=certificates.other_ca)
    options['connection']['ssl_options']['no_verify_ssl'] = text
    trial.start(options)
    trial.put(1)
    assert 'certificate' in trial.wait_state(state) or state == 'running'
    trial.wait_ledger(accepted=1, delivered=int(state == 'running'))


@pytest.mark.parametrize('option', ['cafile', 'certfile'])
def test_a_file_that_is_not_there(trial, adaptor, option):
    options = adaptor.tls_options(trial.destination)
    options['connection']['ssl_options'][option] = '/nonexistent'
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', f"'connection.ssl_options.{option}': cannot use /nonexistent")


def test_tls_to_a_port_without_it(trial, adaptor):
    options = adaptor.tls_options(trial.destination)
    options['connection']['port'] = adaptor.port
    trial.start(options)
    trial.put(1)
    trial.wait_state('retrying', 'the port must be one for TLS')


def close_channel(code, text='SOMETHING'):
    return spec.Channel.Close(code, text, 60, 40)


def close_connection(code):
    return spec.Connection.Close(code, 'SOMETHING', 60, 40)


TOPIC = "ACCESS_REFUSED - access to topic 'x' in exchange 'y' refused"

# What the server answers to a message, what the profile adds, and what comes of it.
OUTCOMES = [
    (spec.Basic.Ack(1), {}, 'delivered'),
    (spec.Basic.Nack(1), {}, 'retrying'),
    (close_channel(311), {}, 'dead'),
    (close_channel(313), {}, 'retrying'),
    (close_connection(320), {}, 'retrying'),
    (close_connection(402), {}, 'broken'),
    (close_channel(403), {}, 'broken'),
    (close_channel(403), {'exchange': '{routing_key}'}, 'dead'),
    (close_channel(403, TOPIC), {'exchange': 'x', 'routing_key': 'y'}, 'broken'),
    (close_channel(403, TOPIC), {'exchange': 'x'}, 'dead'),
    (close_channel(404), {}, 'broken'),
    (close_channel(404), {'exchange': '{routing_key}'}, 'dead'),
    (close_channel(405), {}, 'retrying'),
    (close_channel(406), {}, 'dead'),
    (close_connection(501), {}, 'retrying'),
    (close_connection(502), {}, 'retrying'),
    (close_connection(503), {}, 'retrying'),
    (close_connection(504), {}, 'retrying'),
    (close_connection(505), {}, 'retrying'),
    (close_connection(506), {}, 'retrying'),
    (close_connection(530), {}, 'broken'),
    (close_connection(540), {}, 'broken'),
    (close_connection(541), {}, 'retrying'),
    (close_connection(999), {}, 'retrying'),
]


def test_every_answer_has_its_outcome(adaptor, evbusd, client):
    fakes = [FakeServer(answer) for answer, _, _ in OUTCOMES]
    routes = [{'default': {'connection': {'host': '127.0.0.1', 'port': fake.server_address[1]}, **options,
                           'delivery': {'name': f'r{i}'}}}
              for i, (fake, (_, options, _)) in enumerate(zip(fakes, OUTCOMES))]
    evbusd(json.dumps({'evbus': {'stop_timeout': '100ms'}, adaptor.name: routes}))
    client.put('order.created', body_of(1)[0])
    found = wait_outcomes(client, [outcome for _, _, outcome in OUTCOMES])
    for route, (answer, _, outcome) in zip(found, OUTCOMES, strict=True):
        if outcome in ('broken', 'retrying') and hasattr(answer, 'reply_code'):
            assert str(answer.reply_code) in route['reason']
    for fake in fakes:
        fake.shutdown()
        fake.server_close()
