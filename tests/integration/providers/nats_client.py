# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of NATS' protocol as it takes to read what others have published."""

import json
import socket


class Message:
    def __init__(self, subject, reply, headers, body):
        self.subject = subject
        self.reply = reply
        self.headers = headers
        self.body = body


class Client:
    """One connection; used by one thread."""

    def __init__(self, port, host='127.0.0.1', user=None, password=None, token=None, timeout=20):
        self.socket = socket.create_connection((host, port), timeout)
        self.stream = self.socket.makefile('rb')
        self.next = 0
        self.waiting = []
        line = self.stream.readline()
        assert line.startswith(b'INFO '), line
        self.info = json.loads(line[5:])
        options = {'verbose': False, 'pedantic': False, 'headers': True, 'no_responders': True, 'name': 'test',
                   'lang': 'python', 'version': '1', 'protocol': 1}
        options.update({name: value for name, value in (('user', user), ('pass', password), ('auth_token', token))
                        if value is not None})
        self.send(b'CONNECT ' + json.dumps(options).encode() + b'\r\n')
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def flush(self):
        """Returns when the server has gone through everything sent before."""
        self.send(b'PING\r\n')
        while True:
            message = self._read()
            if message is None:
                return
            self.waiting.append(message)

    def subscribe(self, subject):
        self.next += 1
        self.send(f'SUB {subject} {self.next}\r\n'.encode())

    def publish(self, subject, body=b'', reply=''):
        self.send(f'PUB {subject} {reply} {len(body)}\r\n'.encode() + body + b'\r\n')

    def message(self):
        """The next message of any subscription."""
        while not self.waiting:
            message = self._read()
            if message is not None:
                self.waiting.append(message)
        return self.waiting.pop(0)

    def pending(self):
        """All messages that the server has sent up to now."""
        self.flush()
        messages, self.waiting = self.waiting, []
        return messages

    def request(self, subject, body=b''):
        """The answer, in a subscription of its own."""
        self.next += 1
        inbox = f'_INBOX.test.{id(self)}.{self.next}'
        self.send(f'SUB {inbox} {self.next}\r\n'.encode())
        self.publish(subject, body, inbox)
        others = []
        while True:
            message = self.message()
            if message.subject == inbox:
                break
            others.append(message)
        self.waiting = others + self.waiting
        self.send(f'UNSUB {self.next}\r\n'.encode())
        return message

    def api(self, call, /, **arguments):
        """Asks JetStream; an error of its is one here."""
        answer = json.loads(self.request(f'$JS.API.{call}', json.dumps(arguments).encode()).body)
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer

    def read_stream(self, stream):
        """All messages of a stream, in order."""
        n = self.api(f'STREAM.INFO.{stream}')['state']['messages']
        inbox = f'_INBOX.test.{id(self)}.stream'
        self.subscribe(inbox)
        sid = self.next
        consumer = self.api(f'CONSUMER.CREATE.{stream}', stream_name=stream, config={
            'deliver_subject': inbox, 'deliver_policy': 'all', 'ack_policy': 'none', 'replay_policy': 'instant'})
        messages = [self.message() for _ in range(n)]
        self.send(f'UNSUB {sid}\r\n'.encode())
        self.api(f'CONSUMER.DELETE.{stream}.{consumer["name"]}')
        return messages

    def _read(self):
        """The next message, or None for a PONG."""
        while True:
            line = self.stream.readline()
            if not line:
                raise ConnectionError('closed')
            words = line.split()
            verb = words[0].upper()
            if verb == b'PING':
                self.send(b'PONG\r\n')
            elif verb == b'PONG':
                return None
            elif verb == b'-ERR':
                raise RuntimeError(line.decode().strip())
            elif verb == b'MSG':
                body = self.stream.read(int(words[-1]) + 2)[:-2]
                return Message(words[1].decode(), words[3].decode() if len(words) == 5 else '', {}, body)
            elif verb == b'HMSG':
                data = self.stream.read(int(words[-1]) + 2)[:-2]
                n_header = int(words[-2])
                return Message(words[1].decode(), words[3].decode() if len(words) == 6 else '',
                               self._headers(data[:n_header]), data[n_header:])

    @staticmethod
    def _headers(data):
        first, *lines = data.decode().split('\r\n')
        headers = {'Status': first[9:].strip()} if len(first) > 9 else {}
        for line in lines:
            if line:
                name, _, value = line.partition(':')
                headers[name] = value.strip()
        return headers
