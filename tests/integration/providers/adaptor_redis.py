# SPDX-License-Identifier: LGPL-2.1-or-later
"""Redis, with a file that every write is in before it is answered."""

import contextlib
import hashlib
import socket

from adaptor import PASSWORD, Failing, ProviderServer, Received, some
from server import free_port

CONFIG = '''
bind 127.0.0.1
port {port}
tls-port {tls_port}
tls-cert-file {certificates.server}
tls-key-file {certificates.server_key}
tls-ca-cert-file {certificates.ca}
tls-auth-clients yes
requirepass "{password}"
user evbus on #{digest} ~* &* +@all
unixsocket {folder}/socket
dir {folder}
appendonly yes
appendfsync always
save ""
'''


class Connection:
    """As much of the protocol as it takes to ask a question."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), 20)
        self.stream = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def ask(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(word), word) for word in words))
        return self.answer()

    def answer(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise RuntimeError(rest.decode())
        if kind == b'$':
            return None if rest == b'-1' else self.stream.read(int(rest) + 2)[:-2]
        if kind == b'*':
            return [self.answer() for _ in range(int(rest))]
        if not line:
            raise ConnectionError('closed')
        return int(rest) if kind == b':' else rest


class Adaptor(ProviderServer):
    name = 'redis'
    lets_go = True
    cloudevents = ('structured',)
    implies_tls = True
    wrong_password = 'WRONGPASS'

    def command(self):
        if self.port is None:
            self.port, self.tls_port = free_port(), free_port()
        config = self.folder / 'redis.conf'
        config.write_text(CONFIG.format(port=self.port, tls_port=self.tls_port, certificates=self.certificates,
                                        password=PASSWORD, folder=self.folder,
                                        digest=hashlib.sha256(PASSWORD.encode()).hexdigest()))
        return ['redis-server', str(config)], {}

    @contextlib.contextmanager
    def connection(self):
        with Connection(self.port) as connection:
            connection.ask('AUTH', PASSWORD)
            yield connection

    def ask(self, *words):
        with self.connection() as connection:
            return connection.ask(*words)

    def is_ready(self):
        try:
            return self.ask('PING') == b'PONG'
        except (OSError, RuntimeError):
            return False

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'host': host, 'port': port or self.port, 'password': self.secret(password), 'stream': destination}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None,
                    switch=True):
        tls = {'enabled': switch, 'ca_file': str(ca or self.certificates.ca), 'verify': verify}
        if server_name:
            tls['server_name'] = server_name
        if client:
            tls.update(cert_file=str(self.certificates.client), key_file=str(self.certificates.client_key))
        return {**self.options(destination, self.tls_port, host), 'tls': tls}

    bench_options = {'maxlen': 100000}
    example = 'order1', 'orders'

    def localize(self, data):
        if 'tls' in data:
            own = self.tls_options('', switch=data['tls']['enabled'])
            return {**data, **some(own, 'host', 'port', 'tls')}
        return {**data, **some(self.options(''), 'host', 'port', 'password')}

    def read(self, destination):
        entries = self.ask('XRANGE', destination, '-', '+')
        return [self.receive(dict(zip(fields[::2], fields[1::2]))) for _, fields in entries]

    def receive(self, fields):
        texts = {name.decode(): value.decode() for name, value in fields.items() if name != b'body'}
        return Received(texts.pop('id'), fields[b'body'], texts.pop('content_type'), texts.pop('routing_key'), texts)

    def failing(self, destination):
        """Under another key than that of orders is no stream but a list."""
        self.ask('RPUSH', f'{destination}.elsewhere', 'x')
        return Failing(self.options(destination + '.{routing_key}'), key=('elsewhere',), reason='WRONGTYPE',
                       place=f'{destination}.order.created')

    @contextlib.contextmanager
    def closes_idle(self, options):
        self.ask('CONFIG', 'SET', 'timeout', 1)
        try:
            yield lambda: b' name=evbus-' not in self.ask('CLIENT', 'LIST')
        finally:
            self.ask('CONFIG', 'SET', 'timeout', 0)

    @contextlib.contextmanager
    def refuses(self, destination):
        (_, before) = self.ask('CONFIG', 'GET', 'proto-max-bulk-len')
        self.ask('CONFIG', 'SET', 'proto-max-bulk-len', 1024 * 1024)
        yield 1024 * 1024 + 1
        self.ask('CONFIG', 'SET', 'proto-max-bulk-len', before)
