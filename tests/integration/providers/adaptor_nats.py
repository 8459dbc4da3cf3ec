# SPDX-License-Identifier: LGPL-2.1-or-later
"""NATS with JetStream, whose streams are files."""

import contextlib
import json
import urllib.parse
import urllib.request

import nats_client
from adaptor import PASSWORD, Failing, ProviderServer, Received, some
from server import Server, accepts, free_port

CONFIG = '''
listen: "127.0.0.1:{server.port}"
http: "127.0.0.1:{server.monitor}"
ping_interval: "1s"
ping_max: 2
max_payload: {max_payload}
jetstream {{ store_dir: "{server.folder}/jetstream" }}
authorization {{ users: [
  {{ user: "evbus", password: {password} }}
  {{ user: "publisher", password: {password}, permissions: {{ publish: "*.may.>", subscribe: "_INBOX.>" }} }}
  {{ user: "deaf", password: {password}, permissions: {{ publish: ">", subscribe: "nothing" }} }}
] }}
leafnodes {{ listen: "127.0.0.1:{server.leaf_port}" }}
'''
# A server has TLS for all of its clients or for none.
LEAF_CONFIG = '''
listen: "127.0.0.1:{server.tls_port}"
authorization {{ user: "evbus", password: {password} }}
tls {{
  cert_file: "{server.certificates.server}"
  key_file: "{server.certificates.server_key}"
  ca_file: "{server.certificates.ca}"
  verify: true
}}
leafnodes {{
  reconnect: 1
  remotes: [ {{ url: "nats-leaf://evbus:{url_password}@127.0.0.1:{server.leaf_port}" }} ]
}}
'''
MAX_PAYLOAD = 1024 * 1024


class Leaf(Server):
    """The same NATS over TLS."""

    def __init__(self, server):
        super().__init__(server.folder / 'leaf')
        self.server = server

    def command(self):
        config = self.folder / 'nats.conf'
        config.write_text(LEAF_CONFIG.format(server=self.server, password=json.dumps(PASSWORD),
                                             url_password=urllib.parse.quote(PASSWORD, safe='')))
        return ['nats-server', '--config', str(config)], {}

    def is_ready(self):
        return accepts(self.server.tls_port) and 'Leafnode connection created' in self.log()


class Adaptor(ProviderServer):
    name = 'nats'
    lets_go = True
    greeting = b'INFO {"server_id":"X","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576,"tls_required":true}\r\n'
    keeps_idle = True
    implies_tls = True
    speaks_first = True
    wrong_password = 'Authorization Violation'

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        self.port, self.tls_port, self.leaf_port, self.monitor = (free_port() for _ in range(4))
        self.leaf = Leaf(self)

    def start(self):
        super().start()
        if self.leaf.process is None:
            self.leaf.start()
        return self

    def stop(self):
        self.leaf.stop()
        super().stop()

    def command(self):
        config = self.folder / 'nats.conf'
        config.write_text(CONFIG.format(server=self, max_payload=MAX_PAYLOAD, password=json.dumps(PASSWORD)))
        return ['nats-server', '--config', str(config)], {}

    def client(self):
        return nats_client.Client(self.port, user='evbus', password=PASSWORD)

    def is_ready(self):
        try:
            with self.client() as client:
                client.api('INFO')
            return True
        except (OSError, RuntimeError, ValueError):
            return False

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'servers': [f'nats://{host}:{port or self.port}'], 'user': 'evbus', 'password': self.secret(password),
                'subject': destination + '.{routing_key}', 'stream': destination}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None,
                    switch=True):
        tls = {'ca_file': str(ca or self.certificates.ca), 'verify': verify}
        if server_name:
            tls['server_name'] = server_name
        if client:
            tls.update(cert_file=str(self.certificates.client), key_file=str(self.certificates.client_key))
        return {**self.options(destination), 'servers': [f'{"tls" if switch else "nats"}://{host}:{self.tls_port}'], 'tls': tls}

    example = 'order1', 'orders'

    def localize(self, data):
        if data['servers'][0].startswith('tls:'):
            return {**data, **some(self.tls_options(''), 'servers', 'tls')}
        return {**data, **some(self.options(''), 'servers', 'user', 'password')}

    def prepare(self, destination, keys='>', **limits):
        with self.client() as client:
            client.api(f'STREAM.CREATE.{destination}', name=destination, subjects=[f'{destination}.{keys}'],
                       storage='file', **limits)

    def read(self, destination):
        with self.client() as client:
            return [self.receive(message) for message in client.read_stream(destination)]

    def receive(self, message):
        headers = dict(message.headers)
        # Their names have no case.
        wire = {name.lower(): value for name, value in headers.items()}
        event_id = headers.pop('Nats-Msg-Id')
        key = message.subject.split('.', 1)[1]
        if 'ce-specversion' not in headers:
            return Received(event_id, message.body, headers.get('Content-Type'), key, headers, wire)
        cloud = {name[3:]: urllib.parse.unquote(value, errors='strict')
                 for name, value in headers.items() if name.startswith('ce-')}
        return Received(event_id, message.body, cloud.pop('datacontenttype'), key, cloud, wire)

    def bench(self):
        return {**super().bench(), 'BENCH_USER': 'evbus'}

    def connections(self):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.monitor}/connz') as answer:
            return [connection for connection in json.load(answer)['connections']
                    if connection['name'].startswith('evbus-')]

    def failing(self, destination):
        """The stream has no other subjects than those of orders."""
        self.prepare(destination, keys='order.>')
        return Failing(self.options(destination), key=('elsewhere',), reason='does not have it')

    @contextlib.contextmanager
    def closes_idle(self, options):
        """The server closes what leaves two pings of a second unanswered; so do we."""
        options.update(ping_interval='1s', max_pings_out=2)
        yield lambda: any(self.seconds(connection['idle']) >= 5 for connection in self.connections())

    @staticmethod
    def seconds(text):
        return int(text[:-1]) if text.endswith('s') and text[:-1].isdigit() else 0

    @contextlib.contextmanager
    def refuses(self, destination):
        yield MAX_PAYLOAD
