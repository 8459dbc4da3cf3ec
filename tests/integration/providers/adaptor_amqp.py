# SPDX-License-Identifier: LGPL-2.1-or-later
"""RabbitMQ, with durable queues."""

import contextlib
import logging
import subprocess
import time

import pika

from adaptor import PASSWORD, Failing, ProviderServer, Received, some
from server import free_port

USER = 'evbus'
NODE = 'evbus@localhost'
MAX_MESSAGE = 2 * 1024 * 1024
PREFIX = 'cloudEvents:'

CONFIG = '''
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {certificates.ca}
ssl_options.certfile = {certificates.server}
ssl_options.keyfile = {certificates.server_key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
default_user = {user}
default_pass = {password}
max_message_size = {max_message}
'''


# It tells of every attempt to connect to a server that is just starting.
logging.getLogger('pika').setLevel(logging.CRITICAL)


class Adaptor(ProviderServer):
    name = 'amqp'
    lets_go = True
    keeps_idle = True
    implies_tls = True
    wrong_password = 'ACCESS_REFUSED'
    start_deadline = 180
    # It keeps some thousands a second, a half or a quarter of that beside other programs.
    quick_batch = 32
    # Of the server, and what its configuration says of them.
    plugins = settings = ''

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        self.environment = None
        # Queues that are to be made as soon as the server is there.
        self.missing = []
        # What was read and acknowledged, by queue.
        self.taken = {}

    def command(self):
        if self.port is None:
            self.port, self.tls_port = free_port(), free_port()
            config = self.folder / 'rabbitmq.conf'
            config.write_text(CONFIG.format(port=self.port, tls_port=self.tls_port, certificates=self.certificates,
                                            user=USER, password=PASSWORD, max_message=MAX_MESSAGE) + self.settings)
            plugins = self.folder / 'plugins'
            plugins.write_text(f'[{self.plugins}].\n')
            self.environment = {
                'HOME': str(self.folder),
                'ERL_EPMD_ADDRESS': '127.0.0.1',
                'ERL_EPMD_PORT': str(free_port()),
                'RABBITMQ_NODENAME': NODE,
                'RABBITMQ_DIST_PORT': str(free_port()),
                'RABBITMQ_CONFIG_FILE': str(config),
                'RABBITMQ_CONF_ENV_FILE': '/dev/null',
                'RABBITMQ_ENABLED_PLUGINS_FILE': str(plugins),
                'RABBITMQ_MNESIA_BASE': str(self.folder / 'mnesia'),
                'RABBITMQ_LOG_BASE': str(self.folder / 'log'),
                # Schedulers that spin cost the tests beside it a core.
                'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '+sbwt none +sbwtdcpu none +sbwtdio none',
            }
        return ['/usr/lib/rabbitmq/bin/rabbitmq-server'], self.environment

    def start(self):
        super().start()
        while self.missing:
            self.prepare(self.missing.pop())
        return self

    def stop(self):
        super().stop()
        if self.environment is None:
            return
        # It outlives the server that has started it.
        subprocess.run(['epmd', '-kill'], env={**self.environment, 'PATH': '/usr/bin:/bin'}, check=True,
                       capture_output=True)

    def control(self, *arguments):
        """rabbitmqctl"""
        subprocess.run(['/usr/lib/rabbitmq/bin/rabbitmqctl', '-n', NODE, *arguments], check=True, capture_output=True,
                       env={**self.environment, 'PATH': '/usr/bin:/bin:/usr/sbin:/sbin'})

    @contextlib.contextmanager
    def channel(self):
        parameters = pika.ConnectionParameters('127.0.0.1', self.port, heartbeat=0,
                                               credentials=pika.PlainCredentials(USER, PASSWORD))
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            connection.close()

    def is_ready(self):
        try:
            with self.channel():
                return True
        except pika.exceptions.AMQPError:
            return False

    def connection_options(self, host, port, password=PASSWORD):
        return {'host': host, 'port': port, 'login': USER, 'password': self.secret(password)}

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'connection': self.connection_options(host, port or self.port, password), 'routing_key': destination}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None,
                    switch=True):
        tls = {'cafile': str(ca or self.certificates.ca), 'no_verify_ssl': not verify}
        if server_name:
            tls['server_name'] = server_name
        if client:
            tls.update(certfile=str(self.certificates.client), keyfile=str(self.certificates.client_key))
        return {'connection': {**self.connection_options(host, self.tls_port), 'ssl': switch, 'ssl_options': tls},
                'routing_key': destination}

    def bench(self):
        return {**super().bench(), 'BENCH_USER': USER}

    # An exchange that the profile declares, with a queue of the same name.
    example = 'order1', 'orders'

    def localize(self, data):
        if 'routing_key' in data:
            self.prepare(data['routing_key'])
        if data['connection'].get('ssl'):
            own = some(self.tls_options('')['connection'], 'host', 'port', 'ssl_options')
        else:
            own = self.options('')['connection']
        return {**data, 'connection': {**data['connection'], **own}}

    def prepare(self, destination):
        """A queue, and an exchange that passes everything on to it."""
        if not self.is_running():
            self.missing.append(destination)
            return
        with self.channel() as channel:
            channel.queue_declare(destination, durable=True)
            channel.exchange_declare(destination, 'topic', durable=True)
            channel.queue_bind(destination, destination, '#')

    def read(self, destination):
        taken = self.taken.setdefault(destination, [])
        with self.channel() as channel:
            n = channel.queue_declare(destination, passive=True).method.message_count
            for method, properties, body in channel.consume(destination) if n > 0 else ():
                taken.append(self.receive(properties, body))
                n -= 1
                if n == 0:
                    channel.basic_ack(method.delivery_tag, multiple=True)
                    break
        return list(taken)

    def receive(self, properties, body):
        headers = dict(properties.headers)
        wire = {**headers, 'content-type': properties.content_type}
        routing_key = headers.pop('evbus-routing-key', None)
        headers = {name[len(PREFIX) if name.startswith(PREFIX) else 0:]: value for name, value in headers.items()}
        return Received(properties.message_id, body, properties.content_type, routing_key, headers, wire)

    def failing(self, destination):
        """An exchange that has no queue for another key than that of orders."""
        with self.channel() as channel:
            channel.queue_declare(destination, durable=True)
            channel.exchange_declare(destination, 'topic', durable=True)
            channel.queue_bind(destination, destination, 'order.#')
        options = {'connection': self.connection_options('127.0.0.1', self.port), 'exchange': destination}
        return Failing(options, key=('elsewhere',), reason='NO_ROUTE')

    @contextlib.contextmanager
    def closes_idle(self, options):
        """The server gives up a connection from which it has heard nothing for two seconds."""
        options['connection']['heartbeat'] = 1
        asked = []

        def has_been_idle():
            asked.append(time.monotonic())
            return asked[-1] - asked[0] > 5

        yield has_been_idle

    @contextlib.contextmanager
    def refuses(self, destination):
        yield MAX_MESSAGE + 1
