# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two entries of the configuration were changed while nothing ran, and nobody knows which of them
goes on with which part of the spool: evbusd starts, and a person puts it right."""

import os
import shlex
import signal

import pytest
from gi.repository import GLib

from evbus_service import ERROR, MANAGER, CallError, read_events, wait_for

def configuration(left='', right=''):
    """Two entries of the same place; what is to stand in their `delivery` besides."""
    return ('file:\n' + "- '*': {path: FOLDER/left/out, delivery: {retry: {max: 100ms}%s}}\n" % left +
            "- '*': {path: FOLDER/right/out, delivery: {retry: {max: 100ms}%s}}\n" % right)


OLD = configuration()
CHANGED = configuration(', batch: 2', ', batch: 2')
EDITED = configuration(', batch: 3', ', batch: 2')
NAMED = configuration(', batch: 2, name: left', ', batch: 2, name: right')


class Service:
    def __init__(self, folder, evbusd, client):
        self.folder = folder
        self.evbusd = evbusd
        self.client = client
        self.n = 0

    def start(self, config):
        daemon = self.evbusd(config.replace('FOLDER', str(self.folder)), arguments=['--session', '--spool', str(self.folder / 'spool')])
        self.client.ledger()
        return daemon

    def put(self, n):
        for _ in range(n):
            self.client.put('k', GLib.Variant('i', self.n))
            self.n += 1

    def delivered(self, name):
        return [event['body'] for event in read_events(self.folder / name / 'out')]

    def orphans(self):
        """By how much they have queued."""
        return {route['ledger']['queued']: route for route in self.client.routes() if route['state'] == 'orphaned'}


@pytest.fixture
def service(folder, evbusd, client, evbusctl):
    """0 to 29 are queued for left, 20 to 29 for right; then it was stopped, and both entries changed."""
    service = Service(folder, evbusd, client)
    (folder / 'left').write_text('in the way')
    (folder / 'right').mkdir()
    daemon = service.start('evbus: {stop_timeout: 100ms}\n' + OLD)
    service.put(20)
    client.wait_ledger(accepted=40, delivered=20)
    assert evbusctl('pause').returncode == 0
    service.put(10)
    client.wait_ledger(accepted=60, delivered=20, queued=40)
    daemon.stop()
    wait_for(lambda: client.owner() is None, 'the name to be free')
    (folder / 'left').unlink()
    (folder / 'left').mkdir()
    return service


def run_shown(evbusctl, reason, name):
    """The command line that the reason names."""
    command = next(part for part in reason.split(';') if 'name-orphan' in part)
    words = shlex.split(command.replace(' NAME', ' ' + name))
    return evbusctl(*words[words.index('evbusctl') + 1:])


def test_from_doubt_to_delivered(service, client, evbusctl):
    daemon = service.start(CHANGED)
    config = str(daemon.config)
    orphans = service.orphans()
    assert sorted(orphans) == [10, 30]
    daemon.wait_log('it is in doubt')
    for said in (f"file '*': it is in doubt", f'{config}:2:3', f'{config}:3:3', orphans[10]['key'], orphans[30]['key'],
                 'evbusctl name-orphan'):
        assert said in daemon.log(), said

    # It takes events, and no entry gets what may be another's.
    service.put(5)
    client.wait_ledger(accepted=70, delivered=30, queued=40)
    assert service.delivered('left') == [30, 31, 32, 33, 34]
    assert service.delivered('right') == [*range(20), 30, 31, 32, 33, 34]
    status = evbusctl('status').stdout
    assert status.count('orphaned') == 2 and 'spool: intact: it is in doubt' in status and '2 of its orphans' in status
    assert evbusctl('routes').stdout.count('evbusctl name-orphan ' + shlex.quote(orphans[30]['key'])) == 1

    # By the names alone it is not known either.
    daemon.config.write_text(NAMED.replace('FOLDER', str(service.folder)))
    refused = evbusctl('reload')
    assert refused.returncode == 1 and 'could belong to more than one route' in refused.stderr
    assert 'name-orphan' in refused.stderr

    assert run_shown(evbusctl, orphans[30]['reason'], 'left').returncode == 0
    assert run_shown(evbusctl, orphans[10]['reason'], 'right').returncode == 0
    assert {n: route['name'] for n, route in service.orphans().items()} == {30: 'left', 10: 'right'}
    assert 'in doubt' not in evbusctl('status').stdout
    assert 'evbusctl name-orphan "left" NAME' in evbusctl('routes').stdout
    result = evbusctl('reload')
    assert result.returncode == 0, result.stderr
    service.put(1)
    client.wait_ledger(accepted=72, delivered=72)
    assert service.delivered('left') == [30, 31, 32, 33, 34, *range(30), 35]
    assert service.delivered('right') == [*range(20), 30, 31, 32, 33, 34, *range(20, 30), 35]
    assert not service.orphans() and [route['name'] for route in client.routes()] == ['left', 'right']


def test_doubt_and_names_outlive_a_stop_and_a_kill(service, client, evbusctl):
    daemon = service.start(CHANGED)
    daemon.stop()
    wait_for(lambda: client.owner() is None, 'the name to be free')
    # Edited once more: that is nobody else's, and the doubt is as it was.
    daemon = service.start(EDITED)
    assert 'These entries begin anew' not in daemon.log()
    assert 'it is in doubt which entries of the configuration 2 of its orphans' in evbusctl('status').stdout
    for n, name in ((30, 'left'), (10, 'right')):
        assert evbusctl('name-orphan', service.orphans()[n]['key'], name).returncode == 0
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.wait()
    wait_for(lambda: client.owner() is None, 'the name to be free')
    service.start(NAMED)
    client.wait_ledger(accepted=60, delivered=60)
    assert service.delivered('left') == [*range(30)] and service.delivered('right') == [*range(30)]


def test_what_is_refused(service, client, evbusctl):
    service.start(CHANGED)
    keys = {n: route['key'] for n, route in service.orphans().items()}
    client.call('NameOrphan', '(ss)', keys[10], 'taken', interface=MANAGER)
    for orphan, name, error, said in (('nobody', 'left', 'NotFound', 'no route "nobody"'),
                                      ("file '*'", 'left', 'InvalidArgument', 'give the key of one'),
                                      (keys[30], 'taken', 'Exists', 'taken by another orphan'),
                                      (keys[30], "file '*'", 'Exists', 'taken by a route'),
                                      (keys[30], '', 'InvalidArgument', 'the name is empty')):
        with pytest.raises(CallError, match=ERROR + error):
            client.call('NameOrphan', '(ss)', orphan, name, interface=MANAGER)
        result = evbusctl('name-orphan', orphan, name)
        assert result.returncode == 1 and said in result.stderr, result.stderr
    result = evbusctl('name-orphan', keys[30], b'\xff')
    assert result.returncode == 1 and 'the name is not UTF-8' in result.stderr
    assert evbusctl('name-orphan', keys[30]).returncode == 2
    assert {n: route['key'] for n, route in service.orphans().items()} == {10: 'name:taken', 30: keys[30]}
