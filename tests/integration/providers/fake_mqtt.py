# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server of MQTT that answers as it is told, and writes down what it gets."""

import socketserver
import threading

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14


class FakeMqtt(socketserver.ThreadingTCPServer):
    """connack, puback, disconnect: with these codes, where the last ends the connection when
    something is published; receive_maximum: what it says it takes at once."""

    daemon_threads = True

    def __init__(self, connack=0, puback=0, disconnect=None, receive_maximum=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.connack, self.puback, self.disconnect = connack, puback, disconnect
        self.receive_maximum = receive_maximum
        # Of each connection: (number, whether it is said to come again, topic).
        self.published = []
        # What is to be acknowledged is called with the number; by default at once.
        self.hold = False
        # To hang up when something is published.
        self.hang_up = False
        self.clients = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(socketserver.StreamRequestHandler):
    def packet(self):
        header = self.rfile.read(1)
        if not header:
            raise ConnectionError
        length, shift = 0, 0
        while True:
            byte = self.rfile.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return header[0], self.rfile.read(length)

    def send(self, kind, *body):
        self.wfile.write(bytes([kind, len(body), *body]))

    def handle(self):
        try:
            self.serve()
        except (OSError, IndexError):
            pass  # it has gone

    def serve(self):
        _, body = self.packet()
        self.v5 = body[6] == 5
        self.server.clients.append(self)
        maximum = self.server.receive_maximum
        properties = [0x21, *maximum.to_bytes(2, 'big')] if maximum else []
        self.send(0x20, 0, self.server.connack, *([len(properties), *properties] if self.v5 else []))
        if self.server.connack:
            return
        published = []
        self.server.published.append(published)
        while True:
            header, body = self.packet()
            if header >> 4 == PINGREQ:
                self.send(0xd0)
            elif header >> 4 == DISCONNECT:
                return
            elif header >> 4 == PUBLISH:
                n = int.from_bytes(body[:2], 'big')
                number = int.from_bytes(body[n + 2:n + 4], 'big')
                published.append((number, bool(header & 8), body[2:n + 2].decode()))
                if self.server.hang_up:
                    return
                if self.server.disconnect is not None:
                    self.send(0xe0, self.server.disconnect, 0)
                    return
                if not self.server.hold:
                    self.acknowledge(number)

    def acknowledge(self, number):
        self.send(0x40, *number.to_bytes(2, 'big'), *([self.server.puback, 0] if self.v5 else []))
