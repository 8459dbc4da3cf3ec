# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is let in, and whom the provider trusts."""

import pytest

from adaptor import WRONG_PASSWORD


def test_a_wrong_password_is_told_and_can_be_corrected(trial, adaptor):
    trial.start(adaptor.options(trial.destination, password=WRONG_PASSWORD))
    trial.put(10)
    assert adaptor.wrong_password in trial.wait_state('broken')
    trial.wait_ledger(accepted=10, delivered=0, queued=10, dead=0)
    trial.reconfigure(adaptor.options(trial.destination))
    trial.wait_delivered()
    trial.assert_received_once()


@pytest.mark.parametrize('options', [
    {},
    {'host': '127.0.0.1', 'server_name': 'localhost'},
    {'host': '127.0.0.1', 'wrong_ca': True, 'verify': False},
], ids=['by name', 'by another name', 'unverified'])
def test_tls(trial, adaptor, certificates, options):
    if options.pop('wrong_ca', False):
        options = {**options, 'ca': certificates.other_ca}
    trial.start(adaptor.tls_options(trial.destination, **options))
    trial.put(500)
    trial.wait_delivered()
    trial.assert_received_once()


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


def test_a_password_in_the_clear_is_warned_of(trial, adaptor):
    """To another host, and that is what an address counts as which is not of the loopback."""
    trial.start(adaptor.options(trial.destination, host='0.0.0.0'))
    trial.put(1)
    trial.wait_delivered()
    trial.daemon.wait_log('the password goes to 0.0.0.0 unencrypted')
