# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of a server of AMQP 0-9-1 as it takes to answer a message with an error, or not at all."""

import socket
import socketserver
import threading

from pika import frame, spec

ANSWERS = {
    spec.Connection.Open: spec.Connection.OpenOk(),
    spec.Connection.Close: spec.Connection.CloseOk(),
    spec.Channel.Open: spec.Channel.OpenOk(),
    spec.Confirm.Select: spec.Confirm.SelectOk(),
}
PROPERTIES = {'product': 'fake', 'capabilities': {'publisher_confirms': True, 'basic.nack': True}}


class FakeServer(socketserver.ThreadingTCPServer):
    """Takes everybody in, and answers every message with the same method: of its channel,
    or of the connection."""
    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def send(self, channel, method):
            self.request.sendall(frame.Method(channel, method).marshal())

        def handle(self):
            buffer = self.request.recv(8)
            self.send(0, spec.Connection.Start(0, 9, PROPERTIES, b'PLAIN', b'en_US'))
            buffer = b''
            while data := self.request.recv(65536):
                buffer += data
                while True:
                    size, received = frame.decode_frame(buffer)
                    if received is None:
                        break
                    buffer = buffer[size:]
                    self.take(received)

        def take(self, received):
            method = getattr(received, 'method', None)
            self.server.asked.append(method)
            if isinstance(method, spec.Connection.StartOk):
                self.send(0, spec.Connection.Tune(channel_max=0, frame_max=131072, heartbeat=self.server.heartbeat))
            elif type(method) in ANSWERS:
                self.send(received.channel_number, ANSWERS[type(method)])
            elif isinstance(method, spec.Basic.Publish):
                self.published(received.channel_number)

        def published(self, channel):
            answer = self.server.answer
            self.send(0 if isinstance(answer, spec.Connection.Close) else channel, answer)

    def __init__(self, answer, heartbeat=0):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.answer = answer
        self.heartbeat = heartbeat
        # The methods that have come.
        self.asked = []
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the client has gone


class DeafServer(FakeServer):
    """Once a message has come it reads no more, though it is alive and sends heartbeats."""

    class Handler(FakeServer.Handler):
        def published(self, channel):
            self.server.deaf = self
            while not self.server.closed.wait(0.3):
                if self.server.heartbeat:
                    self.request.sendall(frame.Heartbeat().marshal())
            raise ConnectionAbortedError

    def __init__(self, heartbeat=0):
        # The connection that it reads no more, and how much its client had to send at the last looks.
        self.deaf = None
        self.sizes = []
        self.closed = threading.Event()
        super().__init__(None, heartbeat)

    def server_bind(self):
        # So that little lies here.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        super().server_bind()

    def client(self):
        """The state of the client's end, as the kernel calls it ("01" is established), and how
        many bytes it has still to send; or None."""
        port = self.deaf.client_address[1]
        with open('/proc/net/tcp') as connections:
            for _, local, _, state, queues, *_ in (line.split() for line in connections.readlines()[1:]):
                if int(local.split(':')[1], 16) == port:
                    return state, int(queues.split(':')[0], 16)
        return None

    def is_full(self):
        """Whether the client cannot send more: its end has been the same for a while."""
        if self.deaf is None:
            return False
        self.sizes = [*self.sizes[-50:], self.client()]
        return len(self.sizes) > 50 and len(set(self.sizes)) == 1 and self.sizes[0][1] > 0

    def block(self):
        self.deaf.send(0, spec.Connection.Blocked('full'))

    def close(self):
        self.closed.set()
        self.shutdown()
        self.server_close()
