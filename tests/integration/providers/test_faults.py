# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers that die and lines that are cut lose nothing; what comes again has the same id."""


import pytest

from evbus_service import count_descriptors, wait_for

N = 4000


def start_under_load(trial, adaptor, proxy):
    """Some round trips are still to come when the first events have arrived."""
    proxy.latency = 0.05
    options = {**adaptor.options(trial.destination, port=proxy.port), **adaptor.sharing}
    trial.start(options, delivery={'batch': 100, 'timeout': '2s'})
    trial.put(200)
    trial.wait_delivered()


def test_a_server_that_is_killed(trial, adaptor, proxy):
    start_under_load(trial, adaptor, proxy)
    trial.put(N)
    wait_for(lambda: trial.route()['ledger']['delivered'] > 400, 'some deliveries', 60)
    adaptor.kill_under_load(proxy)
    assert trial.route()['ledger']['delivered'] < N
    trial.put(100)
    reason = trial.wait_state('retrying')
    assert str(proxy.port) in reason
    adaptor.start()
    trial.wait_delivered()
    trial.assert_nothing_lost()


@pytest.mark.parametrize('how', ['reset', 'silence', 'replies'])
def test_a_line_that_is_cut_in_the_middle_of_a_batch(trial, adaptor, proxy, how):
    start_under_load(trial, adaptor, proxy)
    for after in (1, 9000, 30000):
        cuts = proxy.cuts
        proxy.cut(after, how)
        trial.put(500)
        trial.wait_delivered()
        wait_for(lambda: proxy.cuts == cuts + 1, 'the line to be cut', 60)
    assert adaptor.reconnects or trial.route()['ledger']['retried'] > 0
    assert proxy.connections >= 4
    trial.assert_nothing_lost()


def test_an_idle_connection_that_is_lost_is_let_go(trial, adaptor, proxy):
    """Without an event that finds it out; the next one has a connection of its own."""
    if not adaptor.lets_go:
        return

    trial.start(adaptor.options(trial.destination, port=proxy.port))
    trial.put(1)
    trial.wait_delivered()
    before, connections = count_descriptors(trial.daemon.process, 'socket'), proxy.connections
    proxy.cut_off()
    proxy.cut_off(False)
    wait_for(lambda: count_descriptors(trial.daemon.process, 'socket') < before, 'the connection to be let go')
    assert trial.route()['state'] == 'running' and proxy.connections == connections
    trial.put(1)
    assert trial.wait_delivered()['retried'] == 0
    assert proxy.connections == connections + 1
    trial.assert_received_once()


def test_a_server_that_is_not_there_yet_is_no_mistake(trial, adaptor, proxy):
    adaptor.prepare(trial.destination)
    adaptor.kill()
    trial.start(adaptor.options(trial.destination, port=adaptor.port), prepare=False)
    trial.put(10)
    trial.wait_state('retrying', str(adaptor.port))
    adaptor.start()
    trial.wait_delivered()
    trial.assert_received_once()
