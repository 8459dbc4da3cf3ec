# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mosquitto, which keeps what it has acknowledged in memory, and saves it when it is told to."""

import contextlib
import json
import signal
import subprocess
import time

from adaptor import PASSWORD, Failing, ProviderServer, Received, some
from evbus_service import wait_for
from server import accepts, free_port

USER = 'evbus'
MAX_PACKET = 2 * 1024 * 1024

CONFIG = '''
user root
persistence true
persistence_location {server.folder}/
allow_anonymous false
password_file {server.folder}/passwords
acl_file {server.folder}/acl
max_inflight_messages {max_inflight}
max_queued_messages 0
max_packet_size {max_packet}
set_tcp_nodelay true

listener {server.port} 127.0.0.1

listener {server.tls_port} 127.0.0.1
cafile {server.certificates.ca}
certfile {server.certificates.server}
keyfile {server.certificates.server_key}
require_certificate true
'''
ACL = '''
user {user}
topic readwrite #

user publisher
topic write may/#
'''


class Adaptor(ProviderServer):
    name = 'mqtt'
    lets_go = True
    # It acknowledges each event in a packet of its own, which the tests' proxy has to pass on.
    quick_batch = 64
    keeps_idle = True
    implies_tls = True
    wrong_password = 'uthorized'

    def __init__(self, folder, certificates):
        super().__init__(folder, certificates)
        self.port, self.tls_port = free_port(), free_port()
        self.max_inflight = 1000
        # What was read and acknowledged, by destination.
        self.taken = {}
        self.marks = 0

    def command(self):
        config = self.folder / 'mosquitto.conf'
        config.write_text(CONFIG.format(server=self, max_inflight=self.max_inflight, max_packet=MAX_PACKET))
        (self.folder / 'acl').write_text(ACL.format(user=USER))
        (self.folder / 'passwords').touch()
        for user in USER, 'publisher':
            subprocess.run(['mosquitto_passwd', '-b', self.folder / 'passwords', user, PASSWORD], check=True,
                           capture_output=True)
        return ['mosquitto', '-c', str(config)], {}

    def is_ready(self):
        return accepts(self.port) and accepts(self.tls_port)

    def save(self):
        """Has everything written that it has acknowledged up to now."""
        path = self.folder / 'mosquitto.db'
        before = path.stat().st_ino if path.exists() else None
        self.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: path.exists() and path.stat().st_ino != before, 'mosquitto to save')

    def kill(self):
        if self.is_running():
            self.save()
        super().kill()

    def kill_under_load(self, proxy):
        """It acknowledges, and saves later. So nothing reaches it any more before it saves."""
        proxy.cut_off()
        self.kill()
        proxy.cut_off(False)

    def client(self, program, *arguments):
        return [program, '-V', '5', '-p', str(self.port), '-u', USER, '-P', PASSWORD, *arguments]

    def subscriber(self, destination):
        """Of a session in which the server keeps what comes."""
        return self.client('mosquitto_sub', '-c', '-i', f'reader-{destination}', '-x', '1000000', '-q', '1',
                           '-t', f'{destination}/#')

    def publish(self, topic, *arguments):
        subprocess.run(self.client('mosquitto_pub', '-q', '1', '-t', topic, *arguments), check=True)

    def prepare(self, destination):
        subprocess.run([*self.subscriber(destination), '-E'], check=True)

    def messages(self, destination):
        """What has come since the last call, up to a message of our own: (properties, body)."""
        # An earlier one may come again: who read it was killed.
        self.marks += 1
        mark = str(self.marks)
        self.publish(destination, '-m', mark)
        with self.reading(self.subscriber(destination)) as messages:
            for properties, body in messages:
                if properties['topic'] != destination:
                    yield properties, body
                elif body.decode() == mark:
                    return

    @contextlib.contextmanager
    def reading(self, subscriber):
        """What a subscriber gets: (properties, body)."""
        reader = subprocess.Popen([*subscriber, '-F', '%X %j'], stdout=subprocess.PIPE)
        try:
            lines = (line.split(b' ', 1) for line in reader.stdout)
            yield ((json.loads(properties.decode(errors='replace')), bytes.fromhex(body.decode()))
                   for body, properties in lines)
        finally:
            # Not terminated: its handler takes locks that it may hold already, and hangs.
            reader.kill()
            reader.communicate()

    def read(self, destination):
        taken = self.taken.setdefault(destination, [])
        taken += [self.receive(*message) for message in self.messages(destination)]
        return list(taken)

    def receive(self, message, body):
        properties = message.get('properties', {})
        content_type = properties.get('content-type')
        headers = properties.get('user-properties', {})
        wire = {**headers, 'content-type': content_type}
        event_id = headers.pop('evbus-id', None) or headers.get('id')
        return Received(event_id, body, content_type, message['topic'].split('/', 1)[1], headers, wire)

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        return {'host': host, 'port': port or self.port, 'username': USER, 'password': self.secret(password),
                'topic': destination + '/{routing_key}'}

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None,
                    switch=True):
        tls = {'enabled': switch, 'ca_file': str(ca or self.certificates.ca), 'verify': verify}
        if server_name:
            tls['server_name'] = server_name
        if client:
            tls.update(cert_file=str(self.certificates.client), key_file=str(self.certificates.client_key))
        return {**self.options(destination, self.tls_port, host), 'tls': tls}

    def bench(self):
        return {**super().bench(), 'BENCH_USER': USER}

    example = 'order1', 'orders'

    def localize(self, data):
        if 'tls' in data:
            own = self.tls_options('', switch=data['tls']['enabled'])
            return {**data, **some(own, 'host', 'port', 'tls')}
        return {**data, **some(self.options(''), 'host', 'port', 'username', 'password')}

    def failing(self, destination):
        """The ingress itself refuses what would be no topic: of a topic that it does not allow Mosquitto says so,
        but it hangs up then, and what is behind goes out again (test_mqtt.py)."""
        self.prepare(destination)
        return Failing(self.options(destination), key=('every/+/where',), reason='cannot be a topic')

    @contextlib.contextmanager
    def closes_idle(self, options):
        """The server gives up a connection from which it has heard nothing for 7.5 seconds."""
        options['keepalive'] = 5
        asked = []

        def has_been_idle():
            asked.append(time.monotonic())
            return asked[-1] - asked[0] > 9

        yield has_been_idle

    @contextlib.contextmanager
    def refuses(self, destination):
        yield MAX_PACKET
