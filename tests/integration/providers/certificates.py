# SPDX-License-Identifier: LGPL-2.1-or-later
"""The certificates of a test run, made with openssl."""

import pathlib
import subprocess

from gi.repository import Gio, GLib

PASSWORD = 'key password'


class Certificates:
    """ca is who has signed the server's certificate and the client's, other_ca is nobody.
    The server's is for "localhost", and so not for "127.0.0.1"."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca, self.ca_key = self._make('ca', '/CN=evbus test CA')
        self.other_ca, _ = self._make('other', '/CN=other test CA')
        self.server, self.server_key = self._make('server', '/CN=localhost', 'subjectAltName=DNS:localhost')
        self.client, self.client_key = self._make('client', '/CN=evbus', 'extendedKeyUsage=clientAuth')
        self.client_pkcs12 = self._make_pkcs12()
        self.client_encrypted_key = self.folder / 'client-encrypted.key'
        self._openssl('pkey', '-in', self.client_key, '-aes256', '-out', self.client_encrypted_key,
                      '-passout', f'pass:{PASSWORD}')

    def _make_pkcs12(self):
        """GnuTLS cannot read one in some 200 of those that OpenSSL makes: another one then."""
        path = self.folder / 'client.p12'
        for _ in range(10):
            self._openssl('pkcs12', '-export', '-in', self.client, '-inkey', self.client_key, '-out', path,
                          '-passout', f'pass:{PASSWORD}')
            try:
                Gio.TlsCertificate.new_from_file_with_password(str(path), PASSWORD)
                return path
            except GLib.Error as error:
                refused = error
        raise refused

    def revoke(self, certificate):
        """A list of the authority's with that certificate alone."""
        path = self.folder / f'{certificate.stem}.crl'
        config = self.folder / f'{certificate.stem}.cnf'
        index = self.folder / f'{certificate.stem}.index'
        index.touch()
        config.write_text(f'[ca]\ndefault_ca = own\n[own]\ndatabase = {index}\ndefault_md = sha256\n')
        authority = '-config', config, '-cert', self.ca, '-keyfile', self.ca_key
        self._openssl('ca', *authority, '-revoke', certificate)
        self._openssl('ca', *authority, '-gencrl', '-crldays', '30', '-out', path)
        return path

    def _openssl(self, *arguments):
        subprocess.run(['openssl', *map(str, arguments)], cwd=self.folder, check=True, capture_output=True)

    def _make(self, name, subject, extension=None):
        certificate, key = self.folder / f'{name}.pem', self.folder / f'{name}.key'
        arguments = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
                     '-keyout', key, '-out', certificate, '-subj', subject]
        if extension:
            arguments += ['-CA', self.ca, '-CAkey', self.ca_key, '-addext', extension,
                          '-addext', 'basicConstraints=critical,CA:FALSE']
        self._openssl(*arguments)
        # Servers that drop root's rights read it too; it lives as long as the test.
        key.chmod(0o644)
        return certificate, key
