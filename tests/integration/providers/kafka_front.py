# SPDX-License-Identifier: LGPL-2.1-or-later
"""What librdkafka's mock cluster lacks: a broker's TLS, and its SASL (PLAIN and SCRAM). It
stands before a broker of the cluster, and passes on what comes from those who are let in."""

import asyncio
import asyncio.sslproto
import base64
import functools
import hashlib
import hmac
import secrets
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


# ---- mechanisms: they get one answer of the client after the other, yield what is asked further ----

def plain(users):
    _, user, password = (yield b'').split(b'\0')
    if users.get(user.decode()) != password.decode():
        raise Refused
    return b''


def scram(algorithm, users):
    """RFC 5802, of which a broker's clients use neither channel binding nor another identity.
    librdkafka before 2.6.1 puts its own nonce before the common one once more. Brokers up to
    Kafka 3.9 let it pass, and so does this; those of Kafka 4 do not."""
    first = (yield b'').decode()
    header, bare = first[:3], first[3:]
    fields = dict(field.split('=', 1) for field in bare.split(','))
    password = users.get(fields['n'].replace('=2C', ',').replace('=3D', '='), '').encode()
    nonce, salt, iterations = fields['r'] + secrets.token_urlsafe(), secrets.token_bytes(16), 4096
    challenge = f'r={nonce},s={encode(salt)},i={iterations}'
    final, _, proof = (yield challenge.encode()).decode().rpartition(',p=')

    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    client_key, server_key = (hmac.digest(salted, name, algorithm) for name in (b'Client Key', b'Server Key'))
    signed = ','.join([bare, challenge, final]).encode()
    signature = hmac.digest(hashlib.new(algorithm, client_key).digest(), signed, algorithm)
    expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    is_ours = header == 'n,,' and final.startswith(f'c={encode(b"n,,")},r=') and final.endswith(nonce)
    if not is_ours or not password or base64.b64decode(proof) != expected:
        raise Refused
    return b'v=' + encode(hmac.digest(server_key, signed, algorithm)).encode()


def encode(data):
    return base64.b64encode(data).decode()


MECHANISMS = {
    b'PLAIN': plain,
    b'SCRAM-SHA-256': functools.partial(scram, 'sha256'),
    b'SCRAM-SHA-512': functools.partial(scram, 'sha512'),
}


class Front(Proxy):
    """Before the broker on the port target; its clients find it by that host name. Without
    certificates it has no TLS, with them it wants one of the client.

    addresses   what becomes of those that stand in the metadata
    spoken      the mechanisms by which clients were let in"""

    def __init__(self, target, host, users, certificates=None):
        self._users = users
        self.spoken = []
        self._tls = None
        if certificates is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
            self._tls.load_cert_chain(certificates.server, certificates.server_key)
            self._tls.verify_mode = ssl.CERT_REQUIRED
        super().__init__(target)
        self.addresses = {address('127.0.0.1', target): address(host, self.port)}

    def rewrite(self, data):
        for old, new in self.addresses.items():
            data = data.replace(old, new)
        return data

    def listen(self, serve, **settings):
        return super().listen(serve, ssl=self._tls, **settings)

    async def greet(self, reader, writer, up_reader, up_writer):
        """Up to where the client has said who it is."""
        login = _Login(self._users)
        try:
            while not login.mechanism or login.is_under_way:
                writer.write(frame(await self._answer(await read_frame(reader), login, up_reader, up_writer)))
            if login.was_refused:
                raise Refused
            self.spoken.append(login.mechanism.decode())
        except (Refused, asyncio.IncompleteReadError):
            await writer.drain()
            raise ConnectionAbortedError from None

    async def _answer(self, request, login, up_reader, up_writer):
        api, version, correlation, size = struct.unpack_from('>hhih', request)
        body = request[10 + max(size, 0):]
        if api == API_VERSIONS and version > 0:
            answer = struct.pack('>hihhh', UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, 0)
        elif api == API_VERSIONS:
            up_writer.write(frame(request))
            answer = with_sasl((await read_frame(up_reader))[4:])
        elif api == SASL_HANDSHAKE:
            error = 0 if login.begin(body[2:]) else UNSUPPORTED_MECHANISM
            answer = struct.pack('>hi', error, len(MECHANISMS)) + b''.join(map(text, MECHANISMS))
        elif api == SASL_AUTHENTICATE and login.mechanism:
            further = login.go_on(body[4:])
            answer = struct.pack('>h', AUTHENTICATION_FAILED) + text(REFUSAL) if login.was_refused else struct.pack('>hh', 0, -1)
            answer += struct.pack('>i', len(further)) + further + (struct.pack('>q', 0) if version > 0 else b'')
        else:
            raise Refused
        return struct.pack('>i', correlation) + answer


class _Login:
    """Of one connection."""

    def __init__(self, users):
        self._users = users
        self._conversation = None
        self.mechanism = None
        self.is_under_way = False
        self.was_refused = False

    def begin(self, mechanism):
        if mechanism not in MECHANISMS:
            return False
        self.mechanism, self.is_under_way = mechanism, True
        self._conversation = MECHANISMS[mechanism](self._users)
        next(self._conversation)
        return True

    def go_on(self, data):
        try:
            return self._conversation.send(data)
        except StopIteration as end:
            self.is_under_way = False
            return end.value
        except Refused:
            self.is_under_way, self.was_refused = False, True
            return b''


def text(data):
    return struct.pack('>h', len(data)) + data


async def read_frame(reader):
    (size,) = struct.unpack('>i', await reader.readexactly(4))
    return await reader.readexactly(size)


def frame(data):
    return struct.pack('>i', len(data)) + data


def with_sasl(versions):
    """An answer to ApiVersions, with those of SASL in it."""
    error, n = struct.unpack_from('>hi', versions)
    return struct.pack('>hi', error, n + 2) + versions[6:] + struct.pack('>hhhhhh', SASL_HANDSHAKE, 0, 1, SASL_AUTHENTICATE, 0, 1)
