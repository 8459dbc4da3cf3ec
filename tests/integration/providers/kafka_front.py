# SPDX-License-Identifier: LGPL-2.1-or-later
"""What librdkafka's mock cluster lacks: a broker's TLS, and its SASL (PLAIN alone). It
stands before a broker of the cluster, and passes on what comes from those who are let in."""

import asyncio
import asyncio.sslproto
import ssl
import struct

from proxy import Proxy

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
UNSUPPORTED_VERSION, UNSUPPORTED_MECHANISM, AUTHENTICATION_FAILED = 35, 33, 58
REFUSAL = b'Authentication failed: Invalid username or password'


def address(host, port):
    """As it stands in the metadata of a cluster: its hosts have names of nine bytes each."""
    return host.encode() + struct.pack('>i', port)


class _Talkative(asyncio.sslproto.SSLProtocol):
    """asyncio would hang up without the alert that tells the client why."""

    def _on_handshake_complete(self, handshake_exc):
        self._process_outgoing()
        super()._on_handshake_complete(handshake_exc)


asyncio.sslproto.SSLProtocol = _Talkative


class KafkaProxy(Proxy):
    """Also where the cluster says that its broker is at port, clients find the proxy."""

    def __init__(self, port):
        super().__init__(port)
        self._from, self._to = address('127.0.0.1', port), address('127.0.0.1', self.port)

    def rewrite(self, data):
        return data.replace(self._from, self._to)


class Refused(Exception):
    pass


class Front(Proxy):
    """Before the broker on the port target; its clients find it by that host name. Without
    certificates it has no TLS, with them it wants one of the client."""

    def __init__(self, target, host, users, certificates=None):
        self._users = users
        self._tls = None
        if certificates is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
            self._tls.load_cert_chain(certificates.server, certificates.server_key)
            self._tls.verify_mode = ssl.CERT_REQUIRED
        super().__init__(target)
        self._from, self._to = address('127.0.0.1', target), address(host, self.port)

    def rewrite(self, data):
        return data.replace(self._from, self._to)

    def listen(self, serve, **settings):
        return super().listen(serve, ssl=self._tls, **settings)

    async def greet(self, reader, writer, up_reader, up_writer):
        """Up to where the client has said who it is."""
        try:
            while not await self._answer(reader, writer, up_reader, up_writer):
                pass
        except (Refused, asyncio.IncompleteReadError):
            await writer.drain()
            raise ConnectionAbortedError from None

    async def _answer(self, reader, writer, up_reader, up_writer):
        request = await read_frame(reader)
        api, version, correlation, size = struct.unpack_from('>hhih', request)
        body = request[10 + max(size, 0):]
        done = False
        if api == API_VERSIONS and version > 0:
            answer = struct.pack('>hihhh', UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, 0)
        elif api == API_VERSIONS:
            up_writer.write(frame(request))
            answer = with_sasl((await read_frame(up_reader))[4:])
        elif api == SASL_HANDSHAKE:
            error = 0 if body[2:] == b'PLAIN' else UNSUPPORTED_MECHANISM
            answer = struct.pack('>hih', error, 1, 5) + b'PLAIN'
        elif api == SASL_AUTHENTICATE:
            _, user, password = body[4:].split(b'\0')
            done = self._users.get(user.decode()) == password.decode()
            answer = struct.pack('>hh', 0, -1) if done else struct.pack('>hh', AUTHENTICATION_FAILED, len(REFUSAL)) + REFUSAL
            answer += struct.pack('>i', 0) + (struct.pack('>q', 0) if version > 0 else b'')
        else:
            raise Refused
        writer.write(frame(struct.pack('>i', correlation) + answer))
        if api == SASL_AUTHENTICATE and not done:
            raise Refused
        return done


async def read_frame(reader):
    (size,) = struct.unpack('>i', await reader.readexactly(4))
    return await reader.readexactly(size)


def frame(data):
    return struct.pack('>i', len(data)) + data


def with_sasl(versions):
    """An answer to ApiVersions, with those of SASL in it."""
    error, n = struct.unpack_from('>hi', versions)
    return struct.pack('>hi', error, n + 2) + versions[6:] + struct.pack('>hhhhhh', SASL_HANDSHAKE, 0, 1, SASL_AUTHENTICATE, 0, 1)
