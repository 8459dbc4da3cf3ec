# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only Kafka has: topics and partitions, its codes, librdkafka's properties."""

import contextlib
import time
import types

import pytest
import yaml
from kafka.partitioner.default import DefaultPartitioner

from adaptor import PASSWORD, WRONG_PASSWORD
from adaptor_kafka import TOPIC_FORBIDDEN, USER, Adaptor
from certificates import PASSWORD as KEY_PASSWORD
from evbus_service import source_root, wait_for
from kafka_front import Front

PRODUCE, INIT_PRODUCER_ID = 0, 22
CORRUPT, INVALID_SIZE, INVALID_TIME = 2, 4, 32
TOO_LARGE, INVALID_RECORD, NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS = 10, 87, 6, 7, 19
OUT_OF_ORDER, UNKNOWN_PRODUCER, UNKNOWN_TOPIC, CLUSTER_FORBIDDEN = 45, 59, 3, 31
DISCONNECT = -195


def plain(adaptor, **options):
    """Options for a direct connection."""
    return {**options, 'connection': {'bootstrap_servers': f'127.0.0.1:{adaptor.ports[0]}', **options.get('connection', {})}}


def assert_all_there(trial):
    """In whatever order: where one of several requests fails, brokers refuse those that
    were sent after it, and the mock cluster does not."""
    assert {event.id: event.body for event in trial.received()} == dict(trial.sent)


def only_dead_letter(trial):
    (letter,) = wait_for(trial.dead_letters, 'the dead letter')
    return letter[4], letter[3]


def test_a_profile_of_pop_evbus(trial, adaptor):
    """An event goes to each of its topics."""
    topics = [f'{trial.destination}-1', f'{trial.destination}-2']
    for topic in topics:
        adaptor.prepare(topic)
    trial.start({'connection': {'bootstrap_servers': [f'127.0.0.1:{adaptor.ports[0]}'], 'client_id': 'my-app'},
                 'topics': topics, 'key': 'a key', 'partition': 0})
    trial.put(300)
    trial.wait_delivered()
    for topic in topics:
        assert [(event.id, event.body, event.routing_key) for event in adaptor.read(topic)] == [
            (event_id, data, 'a key') for event_id, data in trial.sent]


def test_an_event_larger_than_the_queue(trial, adaptor):
    """Which is as large as `max_request_size` needs it, unless it is given."""
    trial.start(plain(adaptor, topic=trial.destination, rdkafka={'queue.buffering.max.kbytes': 1}))
    for size in 10, 5000, 10:
        trial.put_bytes(bytes(size))
    trial.wait_ledger(accepted=3, delivered=2, dead=1)
    assert 'queue.buffering.max.kbytes' in only_dead_letter(trial)[1]


def test_an_event_needs_all_its_topics(trial, adaptor):
    bad = f'{trial.destination}-bad'
    for topic in trial.destination, bad:
        adaptor.prepare(topic)
    adaptor.command('topic-error', bad, UNKNOWN_TOPIC)
    trial.start(plain(adaptor, topics=[trial.destination, bad], rdkafka={'topic.metadata.propagation.max.ms': 300}),
                prepare=False)
    trial.put(5)
    trial.wait_state('broken', f'/{bad}: ')
    trial.wait_ledger(accepted=5, delivered=0, queued=5)
    adaptor.command('topic-error', bad, 0)
    trial.wait_delivered()
    trial.assert_nothing_lost()
    trial.destination = bad
    trial.assert_received_once()


def test_a_secret_among_what_is_passed_through(trial, adaptor):
    options = adaptor.options(trial.destination)
    options['rdkafka'] = {'sasl.password': options['connection'].pop('sasl_plain_password')}
    trial.start(options)
    trial.put(5)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_topic_for_each_event(trial, adaptor, proxy):
    """librdkafka keeps what it knows of a topic; a producer that has met a thousand gives way."""
    trial.start(adaptor.options('', port=proxy.port) | {'topics': ['{routing_key}']})
    trial.put_bytes(b'x', key=f'{trial.destination}-0')
    trial.wait_delivered()
    before = proxy.connections
    for n in range(1, 1200):
        trial.put_bytes(b'x', key=f'{trial.destination}-{n}')
    trial.wait_delivered()
    assert proxy.connections > before
    records = [adaptor.records(f'{trial.destination}-1199', partition) for partition in range(4)]
    assert sum(map(len, records)) == 1


def test_what_a_message_has(trial, adaptor):
    trial.start(plain(adaptor, topic=trial.destination, headers={'shop': '{profile}', 'n': 7}))
    attributes = {'traceparent': '00-1', 'evbus-id': 'forged', 'Content-Type': 'forged', 'subject': 'ü'}
    event_id = trial.put_bytes(b'\0', 'image/png', 'a.key', **attributes)
    trial.wait_delivered()
    (record,) = adaptor.records(trial.destination)
    headers = [(name, value.decode()) for name, value in record.headers]
    when = headers.pop(3)
    assert headers[:4] == [('evbus-id', event_id), ('evbus-routing-key', 'a.key'), ('evbus-profile', 'default'),
                           ('content-type', 'image/png')]
    assert sorted(headers[4:]) == [('n', '7'), ('shop', 'default'), ('subject', 'ü'), ('traceparent', '00-1')]
    assert when[0] == 'evbus-time' and len(when[1]) == len('2026-01-01T00:00:00.000000Z')
    assert (record.key, record.value) == (b'a.key', b'\0')
    assert abs(record.timestamp / 1000 - time.time()) < 600


def test_what_a_cloudevent_has(trial, adaptor):
    trial.start(plain(adaptor, topic=trial.destination, headers={'shop': '{profile}'}, cloudevents='binary'))
    event_id = trial.put_bytes(b'\0', 'image/png', 'a.key', traceparent='00-1', tracestate='a=1')
    trial.wait_delivered()
    (record,) = adaptor.records(trial.destination)
    headers = [(name, value.decode()) for name, value in record.headers]
    assert headers.pop(4)[0] == 'ce_time'
    assert headers[:4] == [('ce_specversion', '1.0'), ('ce_id', event_id), ('ce_source', '/evbus'), ('ce_type', 'a.key')]
    assert sorted(headers[4:]) == [('ce_traceparent', '00-1'), ('ce_tracestate', 'a=1'), ('content-type', 'image/png'),
                                   ('shop', 'default'), ('traceparent', '00-1'), ('tracestate', 'a=1')]


def test_the_partition_of_a_key_is_that_of_other_clients(trial, adaptor):
    adaptor.prepare(trial.destination, 4)
    trial.start(plain(adaptor, topic=trial.destination), prepare=False)
    keys = [f'order.{n}' for n in range(40)]
    for key in keys:
        trial.put_bytes(b'x', key=key)
    trial.wait_delivered()
    for partition in range(4):
        expected = [key for key in keys if DefaultPartitioner()(key.encode(), range(4), range(4)) == partition]
        assert [record.key.decode() for record in adaptor.records(trial.destination, partition)] == expected


def test_a_partition_without_a_key(trial, adaptor):
    adaptor.prepare(trial.destination, 4)
    trial.start(plain(adaptor, topic=trial.destination, partition=2, key=''), prepare=False)
    trial.put(20)
    trial.wait_delivered()
    records = adaptor.records(trial.destination, 2)
    assert [(record.key, record.value) for record in records] == [(None, data) for _, data in trial.sent]


def test_a_topic_that_is_not_there(trial, adaptor):
    """That of the profile pauses the route, that of an event ends the event."""
    bad = f'{trial.destination}-bad'
    for topic in bad, trial.destination:
        adaptor.prepare(topic)
    adaptor.command('topic-error', bad, UNKNOWN_TOPIC)
    # Where topics are made by themselves, it may take a while.
    soon = {'topic.metadata.propagation.max.ms': 300}
    trial.start(plain(adaptor, topic=bad, rdkafka=soon), prepare=False)
    trial.put(5)
    reason = trial.wait_state('broken')
    assert f'/{bad}: ' in reason and 'create the topic' in reason
    trial.wait_ledger(accepted=5, queued=5)
    adaptor.command('topic-error', bad, 0)
    trial.wait_ledger(accepted=5, delivered=5)
    adaptor.command('topic-error', bad, UNKNOWN_TOPIC)
    trial.reconfigure(plain(adaptor, topic='{routing_key}', rdkafka=soon))
    event_id = trial.put_bytes(b'x', key=bad)
    trial.put_bytes(b'y', key=trial.destination)
    trial.wait_ledger(accepted=7, delivered=6, dead=1)
    letter, reason = only_dead_letter(trial)
    assert letter == event_id and f'/{bad}: ' in reason
    assert [event.body for event in adaptor.read(trial.destination)] == [b'y']


def test_a_topic_that_is_not_allowed(trial, adaptor):
    """Brokers keep its partitions to themselves."""
    bad = f'{trial.destination}-bad'
    adaptor.prepare(bad, 0)
    adaptor.prepare(trial.destination)
    adaptor.command('topic-error', bad, TOPIC_FORBIDDEN)
    trial.start(plain(adaptor, topic=bad), prepare=False)
    event_id = trial.put_bytes(b'x', key=bad)
    trial.put_bytes(b'y', key=trial.destination)
    trial.wait_state('broken', 'allow the user')
    trial.reconfigure(plain(adaptor, topic='{routing_key}'))
    trial.wait_ledger(accepted=2, delivered=1, dead=1)
    letter, reason = only_dead_letter(trial)
    assert letter == event_id and 'allow the user' in reason


def test_what_cannot_be_a_topic(trial, adaptor):
    trial.start(plain(adaptor))
    event_id = trial.put_bytes(b'x', key='not a topic')
    trial.put_bytes(b'y', key=trial.destination)
    trial.wait_ledger(accepted=2, delivered=1, dead=1)
    assert only_dead_letter(trial)[0] == event_id
    trial.reconfigure(plain(adaptor, topics=['fine', 'not a topic']))
    trial.wait_state('broken', "'not a topic' cannot be a topic")


def test_a_partition_that_is_not_there(trial, adaptor):
    """In the topic of the profile; in one of an event, of which others have it."""
    wide = f'{trial.destination}-wide'
    adaptor.prepare(wide, 8)
    trial.start(plain(adaptor, topic=trial.destination, partition=7), delivery={'timeout': '2s'})
    event_id = trial.put_bytes(b'x', key=trial.destination)
    trial.wait_state('broken', "correct 'partition'")
    trial.wait_ledger(accepted=1, queued=1)
    trial.reconfigure(plain(adaptor, topic='{routing_key}', partition=7))
    trial.put_bytes(b'y', key=wide)
    trial.wait_ledger(accepted=2, delivered=1, dead=1)
    letter, reason = only_dead_letter(trial)
    assert letter == event_id and "correct 'partition'" in reason
    assert [record.value for record in adaptor.records(wide, 7)] == [b'y']


@pytest.mark.parametrize('error', [TOO_LARGE, INVALID_SIZE, INVALID_TIME, INVALID_RECORD])
def test_a_batch_that_is_refused_as_a_whole(trial, adaptor, error):
    """Each of its events is fine."""
    trial.start(plain(adaptor, topic=trial.destination, connection={'linger_ms': 20}), delivery={'batch': 32})
    adaptor.command('errors', PRODUCE, error, error)
    trial.put(200)
    trial.wait_delivered()
    assert_all_there(trial)


@pytest.mark.parametrize('error', [TOO_LARGE, INVALID_RECORD])
def test_an_event_that_the_broker_refuses(trial, adaptor, error):
    trial.start(plain(adaptor, topic=trial.destination))
    adaptor.command('errors', PRODUCE, error)
    event_id = trial.put_bytes(b'bad')
    trial.wait_ledger(accepted=1, dead=1)
    assert only_dead_letter(trial)[0] == event_id
    trial.sent.pop()
    trial.put(10)
    trial.wait_ledger(accepted=11, delivered=10, dead=1)
    trial.assert_received_once()


@pytest.mark.parametrize('n', [1, 100])
def test_what_was_damaged_on_its_way_is_no_dead_letter(trial, adaptor, n):
    """Kafka's own table has CORRUPT_MESSAGE among what is tried again."""
    trial.start(plain(adaptor, topic=trial.destination))
    adaptor.command('errors', PRODUCE, *[CORRUPT] * 6)
    trial.put(n)
    trial.wait_state('retrying', 'it was damaged on its way')
    assert trial.wait_delivered()['retried'] > 0
    assert_all_there(trial)


def test_what_passes_is_tried_again_within_the_publish(trial, adaptor):
    trial.start(plain(adaptor, topic=trial.destination))
    adaptor.command('errors', PRODUCE, NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, DISCONNECT)
    trial.put(300)
    ledger = trial.wait_delivered()
    assert ledger['retried'] == 0
    assert_all_there(trial)


def test_a_topic_without_a_leader(trial, adaptor):
    adaptor.prepare(trial.destination)
    adaptor.command('leader', trial.destination, 0, -1)
    trial.start(plain(adaptor, topic=trial.destination), prepare=False, delivery={'timeout': '2s'})
    trial.put(10)
    trial.wait_state('retrying', 'timed out')
    adaptor.command('leader', trial.destination, 0, 1)
    trial.wait_delivered()
    trial.assert_nothing_lost()


@pytest.mark.parametrize('error', [OUT_OF_ORDER, UNKNOWN_PRODUCER])
def test_a_producer_that_lost_its_numbers(trial, adaptor, error):
    trial.start(plain(adaptor, topic=trial.destination), delivery={'batch': 50})
    trial.put(50)
    trial.wait_delivered()
    adaptor.command('errors', PRODUCE, error)
    trial.put(300)
    trial.wait_delivered()
    assert_all_there(trial)


def test_a_user_who_may_not_be_idempotent(trial, adaptor):
    with contextlib.ExitStack() as stack:
        # An error for each attempt, and none for the tests that follow.
        adaptor.command('errors', INIT_PRODUCER_ID, *[CLUSTER_FORBIDDEN] * 60)
        stack.callback(adaptor.command, 'clear', INIT_PRODUCER_ID)
        trial.start(plain(adaptor, topic=trial.destination))
        trial.put(10)
        trial.wait_state('broken', 'enable.idempotence: false')
        trial.reconfigure(plain(adaptor, topic=trial.destination, rdkafka={'enable.idempotence': False}))
        trial.wait_delivered()
    trial.assert_received_once()


@pytest.mark.parametrize('options', [
    {'connection': {'acks': 1}}, {'connection': {'acks': 0}}, {'connection': {'acks': -1, 'compression_type': 'gzip'}},
    {'connection': {'linger_ms': 5, 'max_batch_size': '4KiB', 'request_timeout_ms': 5000, 'retry_backoff_ms': 50,
                    'connections_max_idle_ms': 60000, 'api_version': [2, 6, 0], 'sasl_kerberos_service_name': 'stream'}},
    {'connection': {'api_version': [0, 11, 0]}},
    {'rdkafka': {'queue.buffering.max.messages': 10, 'client.id': 'x', 'socket.nagle.disable': False}},
], ids=['leader', 'nobody', 'gzip', 'numbers', 'old', 'queue'])
def test_settings(trial, adaptor, options):
    trial.start(plain(adaptor, topic=trial.destination, **options))
    trial.put(500)
    trial.wait_delivered()
    wait_for(lambda: len(trial.received()) == 500, 'all to be there')
    trial.assert_received_once()


@pytest.mark.parametrize('options, reason', [
    ({'rdkafka': {'no.such.thing': 1}}, "has no property 'no.such.thing'"),
    ({'rdkafka': {'socket.nagle.disable': 'perhaps'}}, "property 'socket.nagle.disable'"),
    ({'rdkafka': {'message.timeout.ms': 60000}}, "'message.timeout.ms' is 60000, but has to be between 1 and 30000"),
    ({'rdkafka': {'transactional.id': 'x'}}, 'leave it out'),
    ({'rdkafka': {'delivery.report.only.error': True}}, "'delivery.report.only.error' cannot be set"),
    ({'rdkafka': {'dr_msg_cb': 'x'}}, "property 'dr_msg_cb'"),
    ({'rdkafka': {'enable.idempotence': True, 'acks': 1}}, 'acks'),
    ({'rdkafka': {'sasl.kerberos.min.time.before.relogin': PASSWORD}}, 'refuses its value'),
    ({'rdkafka': {'topic': ['x']}}, "value of 'topic' must be a text"),
    ({'topics': ['x']}, "either 'topic' or 'topics'"),
    ({'connection': {'ssl_ciphers': 'none-such'}}, 'ssl.cipher.suites'),
    ({'connection': {'ssl_cafile': '/nonexistent'}}, "'connection.ssl_cafile': /nonexistent: No such file"),
], ids=lambda value: None if isinstance(value, dict) else '')
def test_settings_that_cannot_be(trial, adaptor, options, reason):
    trial.start(plain(adaptor, topic=trial.destination, **options))
    trial.put(1)
    trial.wait_state('broken', reason)
    trial.wait_ledger(accepted=1, queued=1)


def test_a_key_with_a_password(trial, adaptor, certificates):
    options = adaptor.tls_options(trial.destination)
    options['connection'].update(ssl_keyfile=str(certificates.client_encrypted_key), ssl_password=adaptor.secret('wrong'))
    trial.start(options)
    trial.put(1)
    trial.wait_state('broken', 'ssl.key.location')
    options['connection']['ssl_password'] = adaptor.secret(KEY_PASSWORD)
    trial.reconfigure(options)
    trial.wait_delivered()
    trial.assert_received_once()


def test_a_certificate_that_was_revoked(trial, adaptor, certificates):
    trial.start(adaptor.tls_options(trial.destination))
    trial.put(1)
    trial.wait_delivered()
    for crl, state in (certificates.revoke(certificates.client), 'running'), (certificates.revoke(certificates.server), 'broken'):
        options = adaptor.tls_options(trial.destination)
        options['connection']['ssl_crlfile'] = str(crl)
        trial.reconfigure(options)
        trial.put(1)
        if state == 'running':
            trial.wait_delivered()
        else:
            trial.wait_state(state, 'certificate verify failed')
    trial.wait_ledger(accepted=3, delivered=2, queued=1)


def test_a_name_with_several_addresses(trial, adaptor):
    """Of which one answers."""
    trial.start(plain(adaptor, topic=trial.destination, connection={'bootstrap_servers': f'localhost:{adaptor.ports[0]}'}))
    trial.put(10)
    ledger = trial.wait_delivered()
    assert ledger['retried'] == 0
    trial.assert_received_once()


def test_a_name_that_is_not_verified_is_warned_of_once(trial, adaptor, certificates):
    """Though the certificate is, and however many clients of the library there are."""
    options = adaptor.tls_options(trial.destination, host='0.0.0.0', server_name='another')
    trial.start(options, delivery={'timeout': '2s'})
    trial.put(1)
    trial.wait_delivered()
    adaptor.kill()
    trial.put(1)
    trial.wait_state('retrying')
    adaptor.start()
    trial.wait_delivered()
    assert trial.daemon.log().count('nothing proves that it is 0.0.0.0 at the other end of TLS') == 1
    assert_all_there(trial)
    trial.reconfigure(adaptor.tls_options(trial.destination, host='0.0.0.0', server_name='another', ca=certificates.other_ca))
    trial.put(1)
    trial.wait_state('broken', 'certificate')
    trial.wait_ledger(accepted=3, delivered=2, queued=1)


def test_a_password_to_a_broker_that_another_has_named(trial, adaptor):
    """The one of the profile is on this machine."""
    # 0.0.0.0, in as many letters as the cluster's own name of its broker.
    front = Front(adaptor.ports[0], '0.0.0.000', {USER: PASSWORD})
    try:
        trial.start(adaptor.options(trial.destination, port=front.port))
        trial.put(10)
        trial.wait_delivered()
        assert trial.daemon.log().count('the password goes to 0.0.0.000 unencrypted') == 1
        trial.assert_received_once()
    finally:
        front.close()


def test_brokers_that_come_and_go_are_no_news(trial, adaptor):
    """While nothing is to be sent."""
    trial.start(plain(adaptor, topic=trial.destination))
    trial.put(1)
    trial.wait_delivered()
    before = len(trial.daemon.log().splitlines())
    for _ in range(20):
        adaptor.kill()
        adaptor.start()
    trial.put(1)
    trial.wait_delivered()
    assert len(trial.daemon.log().splitlines()) - before <= 3
    trial.assert_received_once()


class Cluster(Adaptor):
    n_brokers = 3


def test_a_cluster_of_three(trial, adaptor, certificates):
    """The leader moves, and one broker is down."""
    cluster = Cluster(adaptor.folder / 'three', certificates)
    try:
        cluster.start()
        trial.adaptor = cluster
        trial.start({'topic': trial.destination, 'connection': {
            'bootstrap_servers': [f'127.0.0.1:{port}' for port in cluster.ports]}}, delivery={'batch': 50})
        for leader in 1, 2, 3:
            cluster.command('leader', trial.destination, 0, leader)
            cluster.command('up', -1)
            cluster.command('down', leader % 3 + 1)
            trial.put(300)
            trial.wait_delivered()
        cluster.command('up', -1)
        assert_all_there(trial)
    finally:
        cluster.stop()


def test_brokers_that_are_too_old(trial, adaptor, certificates):
    """As 0.10, which numbers nothing."""
    old = Adaptor(adaptor.folder / 'old', certificates)
    with contextlib.ExitStack() as stack:
        stack.callback(old.stop)
        old.start()
        old.command('version', PRODUCE, 0, 2)
        old.command('version', INIT_PRODUCER_ID, -1, -1)
        trial.adaptor = old
        trial.start(plain(old, topic=trial.destination))
        trial.put(1)
        trial.wait_state('broken', 'the broker is too old')
        trial.wait_ledger(accepted=1, queued=1)


class Pair(Adaptor):
    n_brokers = 2


def test_a_broker_that_lets_nobody_in_is_not_the_cluster(trial, adaptor, certificates):
    """One of two has a certificate for nobody; what it does not lead arrives."""
    stranger = types.SimpleNamespace(ca=certificates.ca, server=certificates.client, server_key=certificates.client_key)
    cluster = Pair(adaptor.folder / 'two', certificates)
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        fronts = [Front(port, 'localhost', {USER: PASSWORD}, shown)
                  for port, shown in zip(cluster.ports, (stranger, certificates), strict=True)]
        cluster.fronts += fronts
        for front in fronts:
            front.addresses = {old: new for other in fronts for old, new in other.addresses.items()}
        options = cluster.tls_options(trial.destination)
        options['connection']['bootstrap_servers'] = [f'localhost:{front.port}' for front in fronts]
        options['rdkafka'] = {'message.timeout.ms': 500}
        trial.adaptor = cluster
        cluster.prepare(trial.destination)
        cluster.command('leader', trial.destination, 0, 1)
        trial.start(options, prepare=False)
        trial.put(10)
        trial.wait_state('retrying', 'certificate')
        cluster.command('leader', trial.destination, 0, 2)
        trial.wait_delivered()
        assert 'broken' not in trial.daemon.log()
        # The other one is gone, and nobody is left who lets it in.
        cluster.command('down', 2)
        trial.put(10)
        trial.wait_state('broken', 'certificate')
        cluster.command('up', 2)
        trial.wait_delivered()
        trial.assert_nothing_lost()
        assert not fronts[0].spoken


@pytest.mark.parametrize('mechanism', ['SCRAM-SHA-256', 'SCRAM-SHA-512'])
def test_a_password_that_is_not_sent(trial, adaptor, mechanism):
    wrong, right = (adaptor.options(trial.destination, password=password) for password in (WRONG_PASSWORD, PASSWORD))
    for options in wrong, right:
        options['connection']['sasl_mechanism'] = mechanism
    trial.start(wrong)
    trial.put(10)
    trial.wait_state('broken', adaptor.wrong_password)
    trial.wait_state('broken', 'SCRAM with Kafka 4 needs librdkafka 2.6.1')
    trial.wait_ledger(accepted=10, queued=10)
    trial.reconfigure(right)
    trial.wait_delivered()
    trial.assert_received_once()
    assert adaptor.fronts[0].spoken[-1] == mechanism


def test_the_example_profile_speaks_its_own_mechanism(adaptor):
    """The common proof of it changes who is spoken to, and no more."""
    connection = yaml.safe_load((source_root() / 'data/profiles/kafka.yaml').read_text())['kafka']['order*']['connection']
    local = adaptor.localize({'connection': connection})['connection']
    assert connection['sasl_mechanism'] == 'SCRAM-SHA-512'
    assert {name for name in local if local[name] != connection.get(name)} == {
        'bootstrap_servers', 'ssl_cafile', 'ssl_certfile', 'ssl_keyfile'}
