# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kafka: there is none in Debian, so this is librdkafka's mock cluster, read by another
client, kafka-python. What that means for the proofs:

- The cluster's memory is all it has, which kill -9 would lose. So "killed" is a broker
  that drops its connections and takes none until it is started again.
- It has no TLS and no SASL. Those proofs are of the client alone: kafka_front.py has a
  broker's side of them, PLAIN and SCRAM. There is no GSSAPI.
- It knows no limit for a message. "Too large" is what the client finds to be.
- What it does about a sequence number that comes twice is not what a broker does:
  nothing here proves that something arrives exactly once."""

import contextlib
import subprocess

import kafka

from adaptor import PASSWORD, Failing, ProviderServer, Received, some
from evbus_service import build_root, sanitized
from kafka_front import Front, KafkaProxy
from server import DEADLINE, free_port

USER = 'evbus'
TOPIC_FORBIDDEN = 29


class Adaptor(ProviderServer):
    name = 'kafka'
    advises = False
    wrong_password = 'Invalid username or password'
    reconnects = True
    n_brokers = 1

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        self.ports = [free_port() for _ in range(self.n_brokers)]
        self.down = False
        self.fronts = []

    def start(self):
        if self.process is None:
            program = build_root() / 'tests/integration/providers/kafka-mock'
            with open(self.log_path, 'ab') as log:
                self.process = subprocess.Popen([program, *map(str, self.ports)], stdin=subprocess.PIPE,
                                                stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
            assert self.process.stdout.readline() == 'ready\n', self.log()
            users = {USER: PASSWORD}
            self.fronts = [Front(self.ports[0], '127.0.0.1', users), Front(self.ports[0], 'localhost', users, self.certificates)]
            self.port, self.tls_port = (front.port for front in self.fronts)
        if self.down:
            self.command('up', -1)
            self.down = False
        return self

    def kill(self):
        self.command('down', -1)
        self.down = True

    def stop(self):
        for front in self.fronts:
            front.close()
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(DEADLINE)
            self.process.stdout.close()

    def command(self, *words):
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        assert self.process.stdout.readline() == 'ok\n', words

    @property
    def quick_batch(self):
        # To hand over a batch takes several times as long with the sanitizer.
        return 64 if sanitized() else 256

    def proxy(self):
        return KafkaProxy(self.port)

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'topics': [destination], 'connection': {
            'bootstrap_servers': f'{host}:{port or self.port}', 'security_protocol': 'SASL_PLAINTEXT',
            'sasl_mechanism': 'PLAIN', 'sasl_plain_username': USER, 'sasl_plain_password': self.secret(password)}}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None):
        options = self.options(destination, self.tls_port, host)
        connection = options['connection']
        connection.update(security_protocol='SASL_SSL', ssl_cafile=str(ca or self.certificates.ca))
        if server_name:
            # The name is always that of the address; it can be ignored.
            connection['ssl_check_hostname'] = False
        if client:
            connection.update(ssl_certfile=str(self.certificates.client), ssl_keyfile=str(self.certificates.client_key))
        if not verify:
            options['rdkafka'] = {'enable.ssl.certificate.verification': False}
        return options

    example = 'order1', 'orders'

    def localize(self, data):
        """Where it names no user, to the cluster itself, which knows none."""
        if 'sasl_mechanism' in data['connection']:
            own = some(self.tls_options('')['connection'], 'bootstrap_servers', 'ssl_cafile', 'ssl_certfile', 'ssl_keyfile')
        else:
            own = self.bench_options['connection']
        return {**data, 'connection': {**data['connection'], **own}}

    @property
    def bench_options(self):
        return {'connection': {'bootstrap_servers': f'127.0.0.1:{self.ports[0]}'}}

    def bench(self):
        return {'BENCH_PORT': str(self.ports[0])}

    def prepare(self, destination, partitions=1):
        self.command('topic', destination, partitions)

    def records(self, destination, partition=0):
        """As the other client gives them."""
        records = []
        with contextlib.closing(kafka.KafkaConsumer(
                bootstrap_servers=f'127.0.0.1:{self.ports[0]}', api_version=(1, 0), enable_auto_commit=False)) as consumer:
            where = kafka.TopicPartition(destination, partition)
            consumer.assign([where])
            (end,) = consumer.end_offsets([where]).values()
            consumer.seek(where, 0)
            while consumer.position(where) < end:
                records += consumer.poll(1000, 1000).get(where, [])
        return records

    def read(self, destination):
        return [self.receive(record) for record in self.records(destination)]

    def receive(self, record):
        wire = {name: value.decode() for name, value in record.headers}
        headers = dict(wire)
        content_type = headers.pop('content-type', None)
        key = record.key.decode() if record.key is not None else None
        if 'ce_specversion' not in headers:
            return Received(headers.get('evbus-id'), record.value or b'', content_type, key, headers, wire)
        cloud = {name[3:]: value for name, value in headers.items() if name.startswith('ce_')}
        return Received(cloud['id'], record.value or b'', content_type, key, cloud, wire)

    def failing(self, destination):
        """The cluster lets nobody write to the topic of another key than that of orders."""
        self.prepare(f'{destination}.order.created')
        self.prepare(f'{destination}.elsewhere', 0)
        self.command('topic-error', f'{destination}.elsewhere', TOPIC_FORBIDDEN)
        options = {**self.options(destination), 'topics': [destination + '.{routing_key}']}
        return Failing(options, key=('elsewhere',), reason='allow the user', place=f'{destination}.order.created')

    @contextlib.contextmanager
    def closes_idle(self, options):
        """Brokers close a connection that is idle for ten minutes; this one, when it is asked."""
        def close():
            self.kill()
            self.start()
            return True

        yield close

    @contextlib.contextmanager
    def refuses(self, destination):
        yield 1024 * 1024
