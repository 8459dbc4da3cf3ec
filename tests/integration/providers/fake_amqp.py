# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of a server of AMQP 0-9-1 as it takes to answer a message with an error."""

import socketserver
import threading

from pika import frame, spec

ANSWERS = {
    spec.Connection.StartOk: spec.Connection.Tune(channel_max=0, frame_max=131072, heartbeat=0),
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
            if type(method) in ANSWERS:
                self.send(received.channel_number, ANSWERS[type(method)])
            elif isinstance(method, spec.Basic.Publish):
                answer = self.server.answer
                self.send(0 if isinstance(answer, spec.Connection.Close) else received.channel_number, answer)

    def __init__(self, answer):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.answer = answer
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the client has gone
