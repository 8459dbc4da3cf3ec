# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nkeys and the tokens signed with them, https://github.com/nats-io/nkeys, with openssl."""

import base64
import binascii
import json
import pathlib
import subprocess
import time

SEED = 18 << 3
PREFIXES = {'user': 20 << 3, 'account': 0 << 3, 'operator': 14 << 3}


def _encode(data):
    crc = binascii.crc_hqx(data, 0)
    return base64.b32encode(data + crc.to_bytes(2, 'little')).decode().rstrip('=')


def _base64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip('=')


class Key:
    """Of a user, an account or an operator."""

    def __init__(self, folder, kind):
        self.kind = kind
        self.path = pathlib.Path(folder) / f'{kind}.key'
        self._openssl('genpkey', '-algorithm', 'ed25519', '-out', self.path)
        private = self._openssl('pkey', '-in', self.path, '-outform', 'DER')[-32:]
        public = self._openssl('pkey', '-in', self.path, '-pubout', '-outform', 'DER')[-32:]
        prefix = PREFIXES[kind]
        self.seed = _encode(bytes([SEED | prefix >> 5, (prefix & 31) << 3]) + private)
        self.public = _encode(bytes([prefix]) + public)

    @staticmethod
    def _openssl(*arguments):
        return subprocess.run(['openssl', *map(str, arguments)], check=True, capture_output=True).stdout

    def token(self, subject, **claims):
        """A JWT about another key, signed by this one."""
        body = {'jti': subject.public, 'iat': int(time.time()), 'iss': self.public, 'sub': subject.public,
                'name': subject.kind, 'nats': {'type': subject.kind, 'version': 2, **claims}}
        text = '.'.join(_base64(json.dumps(part).encode()) for part in ({'typ': 'JWT', 'alg': 'ed25519-nkey'}, body))
        message = self.path.with_suffix('.message')
        message.write_text(text)
        signature = self._openssl('pkeyutl', '-sign', '-rawin', '-inkey', self.path, '-in', message)
        return f'{text}.{_base64(signature)}'


def credentials(account, user):
    """The content of a credentials file for a user of an account."""
    limits = {'subs': -1, 'data': -1, 'payload': -1}
    return (f'-----BEGIN NATS USER JWT-----\n{account.token(user, **limits)}\n------END NATS USER JWT------\n\n'
            f'-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n')


def resolver(operator, account):
    """The lines of the server's configuration that make it know the account."""
    limits = {name: -1 for name in ('subs', 'data', 'payload', 'imports', 'exports', 'conn', 'leaf',
                                    'mem_storage', 'disk_storage', 'streams', 'consumer')}
    token = operator.token(account, limits={**limits, 'wildcards': True})
    return (f'operator: {operator.token(operator)}\nresolver: MEMORY\n'
            f'resolver_preload: {{ {account.public}: {token} }}\n')
