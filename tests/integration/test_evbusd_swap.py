# SPDX-License-Identifier: LGPL-2.1-or-later
"""A reload: it says what came of it, and refuses what cannot be."""

import pathlib
import re

import pytest
from gi.repository import GLib

from evbus_service import (DEADLINE, ERROR, MANAGER, CallError, assert_balanced, build_root, iterate_until, plugin_path,
                           read_events, wait_for)
from producers import Producer, work

BODY = GLib.Variant('i', 1)


def reload(daemon, client, config):
    daemon.config.write_text(config)
    return client.call('Reload', interface=MANAGER)[0]


def names(client):
    return [route['name'] for route in client.routes()]


def test_it_is_answered_when_the_new_routes_run(evbusd, client, folder):
    daemon = evbusd('internal: {default: {}}')
    client.wait_running(1)
    assert reload(daemon, client, f'internal: {{default: {{}}}}\nfile: {{new: {{path: {folder}/new.jsonl}}}}') == []
    assert [route['state'] for route in client.routes()] == ['running', 'running']
    # Nothing to wait for.
    assert reload(daemon, client, 'internal: {default: {}}') == []


def test_what_does_not_run_is_said_with_the_reason(evbusd, client, folder, evbusctl):
    bad = f'file: {{bad: {{path: {folder}/missing/bad.jsonl}}}}\n'
    daemon = evbusd('internal: {default: {}}')
    (line,) = reload(daemon, client, 'internal: {default: {}}\n' + bad)
    route = client.routes()[1]
    assert route['state'] in ('broken', 'retrying') and str(folder) in route['reason']
    assert line == f"file 'bad': {route['state']}: {route['reason']}"
    assert f'after the reload: {line}' in daemon.log()
    # It is in place; and one that is not touched is not told of.
    daemon.config.write_text(f'{bad}internal: {{default: {{}}, other: {{}}}}')
    result = evbusctl('reload')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    daemon.config.write_text(f'file: {{worse: {{path: {folder}/missing/worse.jsonl}}}}')
    result = evbusctl('reload')
    assert result.returncode == 1 and result.stdout == ''
    assert 'the new configuration is in place, but not all of its routes run' in result.stderr
    assert "file 'worse': " in result.stderr
    assert names(client) == ["file 'worse'"]


def test_a_provider_that_is_not_installed_is_no_reason_to_go_back(evbusd, client):
    daemon = evbusd('internal: {default: {}}')
    (line,) = reload(daemon, client, 'internal: {default: {}}\nabsent: {default: {topic: t}}')
    assert line.startswith("absent 'default': failed: ") and 'not installed' in line
    assert len(names(client)) == 2


BROKEN = f'{plugin_path()}:{build_root()}/tests/support/broken-plugins'


@pytest.mark.parametrize('provider', ['broken-symbol', 'broken-nothing'])
def test_a_route_that_cannot_be_made_refuses_the_reload(evbusd, client, folder, provider):
    kept, changed = f'file: {{kept: {{path: {folder}/kept.jsonl}}}}\n', 'internal: {changed: {max_events: %d}%s}\n'
    daemon = evbusd(kept + changed % (1000, ''), env={'EVBUS_PLUGIN_PATH': BROKEN})
    client.wait_running(2)
    client.put('k', BODY, 'kept')
    client.put('k', BODY, 'changed')
    client.wait_ledger(delivered=2)
    (managed,) = client.call('GetManagedObjects', interface='org.freedesktop.DBus.ObjectManager')
    with pytest.raises(CallError, match=ERROR + 'Plugin') as caught:
        reload(daemon, client, kept + changed % (2000, ', new: {}') + f'{provider}: {{sick: {{}}}}\n')
    assert re.search(rf"yaml:3:\d+: {provider} 'sick': .*{provider}.plugin: ", caught.value.message)
    daemon.wait_log('the old one stays')
    # They are the ones they were.
    (after,) = client.call('GetManagedObjects', interface='org.freedesktop.DBus.ObjectManager')
    assert set(managed) == set(after)
    for profile in ('kept', 'changed'):
        client.put('k', BODY, profile)
    assert client.wait_ledger(delivered=4)['dropped'] == 0
    assert len(read_events(folder / 'kept.jsonl')) == 2


class Gate:
    """Its route goes in the new configuration, of which a plugin waits until it is let through;
    and then it registers nothing."""

    def __init__(self, evbusd, client, folder):
        self.client = client
        self.path = folder / 'gate'
        self.out = folder / 'out.jsonl'
        env = {'EVBUS_PLUGIN_PATH': BROKEN, 'EVBUS_TEST_GATE': str(self.path)}
        self.daemon = evbusd(f"file: {{'*': {{path: {self.out}}}}}", env=env,
                             arguments=['--session', '--spool', str(folder / 'spool')])
        client.wait_running(1)

    def reload(self):
        """Its answer, and the gate is reached."""
        self.daemon.config.write_text('broken-gate: {other: {}}')
        answer = self.client.start('Reload', '()', interface=MANAGER)
        wait_for(self.path.exists, 'the plugin to be loaded')
        return answer

    def check(self, answered):
        """All that was answered has gone by the old configuration."""
        self.client.wait_ledger(accepted=len(answered), delivered=len(answered), unrouted=0)
        assert {event['id']: event['body'] for event in read_events(self.out)} == answered
        assert [(route['provider'], route['state']) for route in self.client.routes()] == [('file', 'running')]


@pytest.fixture
def gate(evbusd, client, folder):
    gate = Gate(evbusd, client, folder)
    yield gate
    gate.daemon.kill()


def test_no_put_goes_by_a_configuration_that_is_refused(gate, client, bus):
    producers = [Producer(bus.client(), {}) for _ in range(2)]
    answer = gate.reload()

    def count():
        return sum(len(producer.answered) for producer in producers)

    while count() < 500:
        assert not work(producers)
    assert not answer
    gate.path.unlink()
    with pytest.raises(CallError, match=ERROR + 'Plugin'):
        client.finish(answer)
    refused = count()
    while count() < refused + 100:
        assert not work(producers)
    assert not any([producer.finish() for producer in producers])
    gate.check({event_id: number for producer in producers for event_id, number in producer.answered.items()})


def test_a_plugin_that_does_not_return_refuses_the_reload(gate, client):
    answer = gate.reload()
    event_id = client.put('k', BODY)
    with pytest.raises(CallError, match=ERROR + "Plugin.*within 5 s.*broken-gate 'other'"):
        client.finish(answer)
    gate.daemon.wait_log('the old one stays')
    gate.check({event_id: 1})


def test_the_next_one_takes_the_place_of_one_that_is_tried(gate, client, folder):
    answer = gate.reload()
    moved = folder / 'moved.jsonl'
    assert reload(gate.daemon, client, f"file: {{'*': {{path: {moved}}}}}") == []
    with pytest.raises(CallError, match=ERROR + 'Busy'):
        client.finish(answer)
    # Also once the first one's plugin has returned.
    gate.path.unlink()
    event_id = client.put('k', BODY)
    client.wait_ledger(accepted=1, delivered=1, unrouted=0)
    assert [event['id'] for event in read_events(moved)] == [event_id]


SLOW = 'evbus: {stop_timeout: 1h}\nsink: {default: {mode: %s, delivery: {timeout: 1h}}}\n'


def is_publishing(daemon):
    """Whether the thread of a route waits, as the sink does, for something else than its main loop."""
    for task in pathlib.Path(f'/proc/{daemon.process.pid}/task').iterdir():
        if (task / 'comm').read_text() == 'evbus-route\n':
            return (task / 'wchan').read_text().startswith('futex')
    return False


@pytest.fixture
def slow(evbusd, client):
    """A route that does not close: one that takes its place cannot open."""
    daemon = evbusd(SLOW % 'block')
    client.put('k', BODY)
    wait_for(lambda: is_publishing(daemon), 'the sink to be given the event')
    yield daemon
    daemon.kill()


def test_it_does_not_wait_for_ever(slow, client):
    slow.config.write_text(SLOW % 'confirm')
    answer = client.start('Reload', '()', interface=MANAGER)
    # Meanwhile the service answers.
    for _ in range(10):
        assert_balanced(client.ledger())
    assert not answer
    assert client.finish(answer) == (["sink 'default': it has not opened yet"],)


def test_the_next_one_ends_its_wait(slow, client):
    slow.config.write_text(SLOW % 'confirm')
    answers = [client.start('Reload', '()', interface=MANAGER)]
    client.ledger()
    slow.config.write_text('internal: {default: {}}')
    answers.append(client.start('Reload', '()', interface=MANAGER))
    iterate_until(lambda: answers[1], 'the second answer', DEADLINE)
    assert client.finish(answers[0]) == (["sink 'default': it has not opened yet"],)
    assert client.finish(answers[1]) == ([],)


def test_the_spool_does_not_move(evbusd, client, folder):
    config = 'evbus: {spool: {directory: %s}}\ninternal: {%s: {}}'
    daemon = evbusd(config % (folder / 'first', 'default'))
    for text in (config % (folder / 'second', 'other'), config % ('none', 'other'), 'internal: {other: {}}'):
        with pytest.raises(CallError, match=ERROR + 'InvalidConfig') as caught:
            reload(daemon, client, text)
        assert 'spool.directory' in caught.value.message and str(folder / 'first') in caught.value.message
        assert names(client) == ["internal 'default'"]
    assert reload(daemon, client, config % (folder / 'first', 'other')) == []
    assert not (folder / 'second').exists()


def test_the_spool_of_the_command_line_is_not_the_configuration_s(evbusd, client, folder):
    daemon = evbusd('internal: {default: {}}', arguments=['--session', '--spool', str(folder / 'given')])
    assert reload(daemon, client, 'internal: {other: {}}') == []
    assert names(client) == ["internal 'other'"]
