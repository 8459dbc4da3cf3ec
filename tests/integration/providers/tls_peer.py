# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that wants a certificate of the client, and how it parts from one that has none."""

import socketserver
import ssl
import socket
import struct
import threading


class TlsPeer(socketserver.ThreadingTCPServer):
    """By this version of TLS. When the client has said that it has no certificate the peer sends the
    alert for that, or it just ends the connection (eof, reset). greeting: what it says before TLS."""

    daemon_threads = True

    def __init__(self, certificates, how, version, greeting=b''):
        super().__init__(('127.0.0.1', 0), Handler)
        self.how = how
        self.greeting = greeting
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
        self.context.load_cert_chain(certificates.server, certificates.server_key)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.minimum_version = self.context.maximum_version = version
        # How often it has come to that.
        self.parted = 0
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            self.request.sendall(self.server.greeting)
            alert = self.shake_hands()
            self.server.parted += 1
            self.part(alert)
        except OSError:
            pass  # the client has gone

    def shake_hands(self):
        """Up to where the client has no certificate; returns the alert for that."""
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.server.context.wrap_bio(received, to_send, server_side=True)
        while True:
            try:
                tls.do_handshake()
                raise AssertionError('the client has a certificate')
            except ssl.SSLWantReadError:
                self.request.sendall(to_send.read())
            except ssl.SSLError:
                return to_send.read()
            data = self.request.recv(65536)
            if not data:
                raise ConnectionError
            received.write(data)

    def part(self, alert):
        if self.server.how == 'reset':
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.request.close()
            return
        if self.server.how == 'alert':
            self.request.sendall(alert)
        self.request.shutdown(socket.SHUT_WR)
        # What is closed with something unread in it is reset, and the alert may be lost.
        while self.request.recv(65536):
            pass
