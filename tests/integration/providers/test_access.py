# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is let in, and whom the provider trusts."""

import socket
import ssl
import struct

import pytest

from adaptor import WRONG_PASSWORD
from evbus_service import wait_for
from proxy import CHUNK, Proxy
from tls_peer import TlsPeer


def test_a_wrong_password_is_told_and_can_be_corrected(trial, adaptor):
    trial.start(adaptor.options(trial.destination, password=WRONG_PASSWORD))
    trial.put(10)
    trial.wait_state('broken', adaptor.wrong_password)
    trial.wait_ledger(accepted=10, delivered=0, queued=10, dead=0)
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()
    trial.assert_received_once()


@pytest.mark.parametrize('options', [
    {},
    {'host': '127.0.0.1', 'server_name': 'localhost'},
    {'host': '0.0.0.0', 'wrong_ca': True, 'verify': False},
], ids=['by name', 'by another name', 'unverified'])
def test_tls(trial, adaptor, certificates, options):
    if options.pop('wrong_ca', False):
        options = {**options, 'ca': certificates.other_ca}
    trial.start(adaptor.tls_options(trial.destination, **options))
    trial.put(500)
    trial.wait_delivered()
    trial.assert_received_once()
    unverified = 'nothing proves that it is 0.0.0.0 at the other end of TLS' in trial.daemon.log()
    assert unverified == (options.get('verify') is False)


def test_an_authority_alone_turns_tls_on(trial, adaptor):
    if not adaptor.implies_tls:
        return
    trial.start(adaptor.tls_options(trial.destination, switch=False))
    trial.put(1)
    trial.wait_delivered()


@pytest.mark.parametrize('what', ['another authority', 'another name', 'no certificate'])
def test_tls_refused(trial, adaptor, certificates, what):
    options = {'another authority': {'ca': certificates.other_ca}, 'another name': {'host': '127.0.0.1'},
               'no certificate': {'client': False}}[what]
    trial.start(adaptor.tls_options(trial.destination, **options))
    trial.put(10)
    reason = trial.wait_state('broken')
    assert 'certificate' in reason
    trial.wait_ledger(accepted=10, delivered=0, queued=10, dead=0)
    assert trial.received() == []


class Losing(Proxy):
    """While it is told how, it ends each connection before TLS's handshake is over."""

    how = None
    speaks_first = False

    async def greet(self, reader, writer, up_reader, up_writer):
        if self.how is None:
            return
        if self.speaks_first:
            writer.write(await up_reader.readline())
        if self.how != 'at once':
            hello = await reader.read(CHUNK)
        if self.how == 'in the middle':
            up_writer.write(hello)
            answer = await up_reader.read(CHUNK)
            writer.write(answer[:len(answer) // 2])
            await writer.drain()
        if self.how == 'at its end':
            up_writer.write(hello)
            writer.write(await up_reader.read(CHUNK))
            await reader.read(CHUNK)
        if self.how == 'reset':
            writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        writer.transport.abort()
        raise ConnectionAbortedError


# With it the client hears last that the handshake is over.
OLD_TLS = 'openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv1.2\n'


@pytest.mark.parametrize('how', ['at once', 'closed', 'reset', 'in the middle', 'at its end'])
def test_a_connection_lost_in_the_handshake_of_tls_passes(trial, adaptor, folder, environment, how):
    """As with a balancer whose servers are down: nothing in the configuration is wrong."""
    own = how != 'at its end'
    if not own:
        (folder / 'openssl.cnf').write_text(OLD_TLS)
        environment['OPENSSL_CONF'] = str(folder / 'openssl.cnf')
    port, proxy = adaptor.tls_port, Losing(adaptor.tls_port)
    proxy.how, proxy.speaks_first = how, adaptor.speaks_first
    adaptor.tls_port = proxy.port
    try:
        trial.start(adaptor.tls_options(trial.destination, client=own))
        trial.put(3)
        trial.wait_state('retrying')
        trial.wait_ledger(accepted=3, queued=3, dead=0)
        if own:
            proxy.how = None
            trial.wait_delivered()
            trial.assert_received_once()
    finally:
        adaptor.tls_port = port
        proxy.close()


@pytest.mark.parametrize('version', ['TLSv1_2', 'TLSv1_3'])
@pytest.mark.parametrize('how', ['alert', 'eof', 'reset'])
def test_a_server_that_misses_a_certificate_of_the_client(trial, adaptor, certificates, how, version):
    """Broken is what it says, by an alert; a connection that it just ends may do better later."""
    peer = TlsPeer(certificates, how, ssl.TLSVersion[version], adaptor.greeting)
    port, adaptor.tls_port = adaptor.tls_port, peer.port
    try:
        trial.start(adaptor.tls_options(trial.destination, client=False))
        trial.put(3)
        state, other = ('broken', 'retrying') if how == 'alert' else ('retrying', 'broken')
        trial.wait_state(state, 'certificate' if adaptor.advises else '')
        wait_for(lambda: peer.parted >= 4, 'some tries')
        assert other not in trial.daemon.log()
        trial.wait_ledger(accepted=3, queued=3, dead=0)
    finally:
        adaptor.tls_port = port
        peer.close()


def test_a_password_in_the_clear_is_warned_of(trial, adaptor):
    """To another host, and that is what an address counts as which is not of the loopback."""
    trial.start(adaptor.options(trial.destination, host='0.0.0.0'))
    trial.put(1)
    trial.wait_delivered()
    trial.daemon.wait_log('the password goes to 0.0.0.0 unencrypted')


def test_a_wrong_password_in_the_clear_is_warned_of(trial, adaptor):
    """It goes out all the same."""
    trial.start(adaptor.options(trial.destination, host='0.0.0.0', password=WRONG_PASSWORD))
    trial.put(1)
    trial.wait_state('broken')
    assert 'the password goes to 0.0.0.0 unencrypted' in trial.daemon.log()
