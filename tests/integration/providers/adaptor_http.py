# SPDX-License-Identifier: LGPL-2.1-or-later
"""nginx, and behind it what writes each request down before it answers: http_store.py."""

import base64
import contextlib
import json
import pathlib
import urllib.parse

from adaptor import PASSWORD, Failing, ProviderServer, Received
from server import accepts, free_port

USER = 'evbus'
# Of whoever sends orders, as the example profile does.
TOKEN = 'b34r3r-t0k3n'
MAX_BODY = 1024 * 1024
CONFIG = '''
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size {max_body};
  client_body_buffer_size {max_body};
  auth_basic evbus;
  auth_basic_user_file {folder}/users;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
  proxy_set_header X-Connection $connection;
  upstream store {{ server unix:{folder}/store; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {certificates.server};
    ssl_certificate_key {certificates.server_key};
    ssl_client_certificate {certificates.ca};
    ssl_verify_client on;
    location /answer/ {{ return 204; }}
    location ~ /gone$ {{ return 410; }}
    location /orders/ {{
      auth_basic off;
      if ($http_authorization != "Bearer {token}") {{ return 401; }}
      proxy_pass http://store;
    }}
    location = /events {{
      auth_basic off;
      proxy_pass http://store;
    }}
    location /forbidden/ {{ deny all; }}
    location /moved/ {{ return 301 /answer/; }}
    location /gone/ {{ return 410; }}
    location /files/ {{ root {folder}; }}
    location / {{ proxy_pass http://store; }}
  }}
  server {{
    listen 127.0.0.1:{ending_port};
    keepalive_timeout 1s;
    keepalive_requests 20;
    location / {{ proxy_pass http://store; }}
  }}
}}
'''


class Adaptor(ProviderServer):
    name = 'http'
    advises = False
    wrong_password = '401'
    sharing = {'batch': 'cloudevents'}

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        # The last one ends connections that are idle, or have had some requests.
        self.port, self.tls_port, self.ending_port = (free_port() for _ in range(3))

    def command(self):
        (self.folder / 'users').write_text(f'{USER}:{{PLAIN}}{PASSWORD}\n')
        config = self.folder / 'nginx.conf'
        config.write_text(CONFIG.format(**vars(self), max_body=MAX_BODY, token=TOKEN))
        return [str(pathlib.Path(__file__).with_name('http_store.py')), str(self.folder), str(config)], {}

    def is_ready(self):
        return accepts(self.port)

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'url': f'http://{host}:{port or self.port}/{destination}',
                'authorization': {'basic': {'username': USER, 'password': self.secret(password)}}}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None):
        tls = {'ca_file': str(ca or self.certificates.ca), 'verify': verify}
        if server_name:
            tls['server_name'] = server_name
        if client:
            tls.update(cert_file=str(self.certificates.client), key_file=str(self.certificates.client_key))
        return {**self.options(destination), 'url': f'https://{host}:{self.tls_port}/{destination}', 'tls': tls}

    example = 'order1', 'orders'
    credential = TOKEN

    def localize(self, data):
        scheme, _, rest = data['url'].partition('://')
        _, _, path = rest.partition('/')
        if scheme == 'https':
            own = self.tls_options(path)
            return {**data, 'url': own['url'], 'tls': own['tls']}
        return {**data, 'url': self.options(path)['url']}

    @property
    def bench_options(self):
        return {'url': f'http://127.0.0.1:{self.port}/answer/', 'in_flight': 16}

    def bench(self):
        return {**super().bench(), 'BENCH_USER': USER}

    def records(self, destination):
        """The requests, with the headers' names in lower case."""
        path = self.folder / f'{destination}.jsonl'
        lines = path.read_text().splitlines() if path.exists() else []
        for record in map(json.loads, lines):
            yield {**record, 'headers': {name.lower(): value for name, value in record['headers']},
                   'body': base64.b64decode(record['body'])}

    def read(self, destination):
        return [event for record in self.records(destination) for event in self.receive(record)]

    def receive(self, record):
        headers = record['headers']
        content_type = headers.get('content-type')
        if content_type.startswith('application/cloudevents-batch+json'):
            return [self.receive_cloud(event) for event in json.loads(record['body'])]
        cloud = {name[3:]: urllib.parse.unquote(value, errors='strict')
                 for name, value in headers.items() if name.startswith('ce-')}
        return [Received(headers['idempotency-key'], record['body'], content_type, headers.get('evbus-routing-key'),
                         cloud or headers, headers)]

    def receive_cloud(self, event):
        if 'data_base64' in event:
            body = base64.b64decode(event['data_base64'])
        else:
            body = json.dumps(event['data'], separators=(',', ':'), ensure_ascii=False).encode()
        return Received(event['id'], body, event['datacontenttype'], event['type'])

    def failing(self, destination):
        """The server has nothing at the URL of another key than that of orders."""
        return Failing(self.options(destination + '/{routing_key}'), key=('gone',), reason='410')

    @contextlib.contextmanager
    def closes_idle(self, options):
        """The server closes what has been idle for a second; that is found out when it is
        used the next time."""
        options['url'] = options['url'].replace(f':{self.port}/', f':{self.ending_port}/')
        peer, closed_by_peer = f':{self.ending_port:04X}', '08'

        def is_closed():
            lines = pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]
            return any(line.split()[2].endswith(peer) and line.split()[3] == closed_by_peer for line in lines)

        yield is_closed

    @contextlib.contextmanager
    def refuses(self, destination):
        yield MAX_BODY + 1
