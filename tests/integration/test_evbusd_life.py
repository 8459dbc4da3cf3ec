# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start, readiness, stop, and what evbusd takes of the machine."""

import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from gi.repository import GLib

from evbus_service import (ERROR, NAME, PATH, BROKER, Bus, CallError, build_root, plugin_path, preload,
                           program, read_events, sanitized, wait_for)

INTERNAL = "internal: {'*': {}}"
BODY = GLib.Variant('i', 1)
SLOW = '''
evbus: {stop_timeout: %s}
sink:
  default: {delay_ms: %d, delivery: {batch: 1}}
'''
SANITIZED = sanitized()


class NotifySocket:
    """What a service manager hears."""

    def __init__(self, folder):
        self.path = str(folder / 'notify')
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def receive(self):
        return self.socket.recv(4096).decode()


@pytest.mark.parametrize('arguments', [
    ['--sesion'],
    ['--session', '--system'],
    ['--session', '--address', 'unix:path=/x'],
    ['--config'],
    ['surplus'],
])
def test_bad_usage_is_2(evbusd, arguments):
    daemon = evbusd(arguments=arguments, start=False).spawn()
    assert daemon.wait() == 2
    assert daemon.log().startswith('evbusd: ') and '--help' in daemon.log()


def test_help_and_version():
    for option in ('--help', '--version'):
        done = subprocess.run([program('evbusd'), option], capture_output=True, text=True, check=True)
        assert 'evbusd' in done.stdout and not done.stderr


@pytest.mark.parametrize('config,expected', [
    ('internal: {default: {max_evens: 1}}', 'max_evens'),
    ('internal: [', ':1:'),
    ('', 'profiles-0.yaml'),
])
def test_a_bad_configuration_is_1_and_says_why(evbusd, config, expected):
    daemon = evbusd(config, start=False).spawn()
    assert daemon.wait() == 1
    assert expected in daemon.log()


def test_no_such_configuration(evbusd):
    daemon = evbusd(arguments=['--config', '/nowhere/profiles.yaml'], start=False).spawn()
    assert daemon.wait() == 1
    assert '/nowhere/profiles.yaml' in daemon.log()


def test_no_bus(evbusd):
    daemon = evbusd(INTERNAL, arguments=['--address', 'unix:path=/nowhere/bus'], start=False).spawn()
    assert daemon.wait() == 1
    assert '/nowhere/bus' in daemon.log()


def test_address(evbusd, client, bus):
    evbusd(INTERNAL, arguments=['--address', bus.address],
           env={'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nowhere', 'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nowhere'})
    assert client.put('k', BODY)


def test_name_taken_names_the_owner(evbusd, client, folder):
    config = f'file: {{default: {{path: {folder}/%s.jsonl}}}}'
    first = evbusd(config % 'first')
    client.wait_running(1)
    second = evbusd(config % 'second', start=False).spawn()
    assert second.wait() == 1
    assert f'already owned by {client.owner()} (process {first.process.pid}, evbusd)' in second.log()
    # It has not opened what it would have written to.
    assert (folder / 'first.jsonl').exists() and not (folder / 'second.jsonl').exists()
    client.put('k', BODY)
    client.wait_ledger(delivered=1)


def test_sigterm_delivers_what_was_accepted(evbusd, client):
    daemon = evbusd(SLOW % ('20s', 50))
    client.wait_running(1)
    for _ in range(10):
        client.put('k', BODY)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log()
    assert 'stopped: 10 accepted, 10 delivered, 0 not delivered' in daemon.log()


def test_sigint_is_the_same(evbusd, client):
    daemon = evbusd(INTERNAL)
    client.put('k', BODY)
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0, daemon.log()
    assert '1 accepted, 1 delivered' in daemon.log()


def test_while_it_drains_it_takes_nothing(evbusd, client):
    daemon = evbusd('evbus: {stop_timeout: 30s}\nsink: {default: {delay_ms: 3000, delivery: {batch: 1}}}')
    client.wait_running(1)
    client.put('k', BODY)
    daemon.signal(signal.SIGTERM)
    daemon.wait_log('asked to stop')
    for method, signature, arguments in (('Put', '(svs)', ('k', BODY, '')), ('PutMany', '(a(svs))', ([('k', BODY, '')],))):
        with pytest.raises(CallError, match=ERROR + 'Closed'):
            client.call(method, signature, *arguments)
    with pytest.raises(CallError, match=ERROR + 'Closed'):
        client.call('Reload', interface='org.evbus1.Manager')
    assert daemon.wait() == 0, daemon.log()
    assert '1 accepted, 1 delivered' in daemon.log()


def test_a_waiting_put_is_answered_at_the_stop(evbusd, client):
    daemon = evbusd('''
evbus: {stop_timeout: 100ms, spool: {directory: none}}
sink: {default: {delay_ms: 60000, delivery: {overflow: block, batch: 1, window: {events: 2}}}}''')
    client.wait_running(1)
    for _ in range(2):
        client.put('k', BODY)
    waiting = client.start('Put', '(svs)', 'k', BODY, '')
    behind = client.start('Put', '(svs)', 'k', BODY, '')
    client.ledger()      # a round trip: both are there
    daemon.signal(signal.SIGTERM)
    for answer in (waiting, behind):
        with pytest.raises(CallError, match=ERROR + 'Closed'):
            client.finish(answer)
    assert daemon.wait() == 0, daemon.log()


def test_the_drain_has_a_deadline(evbusd, client):
    daemon = evbusd(SLOW % ('200ms', 60000))
    client.wait_running(1)
    for _ in range(5):
        client.put('k', BODY)
    start = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log()
    assert time.monotonic() - start < 10
    # The one that was under way may still get there.
    assert re.search(r'5 accepted, [01] delivered, [45] not delivered', daemon.log())


def test_a_second_sigterm_hurries(evbusd, client, folder):
    """What it does not wait for is kept for the next life."""
    record = folder / 'record'
    arguments = ['--session', '--spool', str(folder / 'spool')]
    config = "evbus: {stop_timeout: 10m}\nsink: {'*': {mode: %s, record: %s, delivery: {name: one, batch: 1}}}"
    daemon = evbusd(config % ('block', record), arguments=arguments)
    client.wait_running(1)
    ids = [client.put('k', BODY) for _ in range(3)]
    daemon.signal(signal.SIGTERM)
    daemon.wait_log('asked to stop; delivering')
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log()
    assert 'stopping at once' in daemon.log()

    evbusd(config % ('confirm', record), arguments=arguments)
    client.wait_ledger(accepted=3, delivered=3, queued=0)
    assert record.read_text().splitlines() == ids


def test_bus_lost_drains_and_fails(evbusd, folder, environment):
    own_bus = Bus(folder / 'bus', environment)
    daemon = evbusd(SLOW % ('20s', 50), arguments=['--address', own_bus.address], start=False)
    daemon.bus = own_bus
    daemon.start()
    client = own_bus.client()
    client.wait_running(1)
    for _ in range(10):
        client.put('k', BODY)
    own_bus.stop()
    assert daemon.wait() == 1
    daemon.assert_last_words()
    assert 'the bus is gone' in daemon.log()
    assert '10 accepted, 10 delivered' in daemon.log()


def test_the_bus_activates_it(bus, client, folder, environment):
    config = folder / 'evbus.yaml'
    config.write_text(f'file: {{default: {{path: {folder}/events.jsonl}}}}')
    service = (build_root() / 'data' / 'org.evbus1.service').read_text()
    service = re.sub(r'^Exec=.*/evbusd', f'Exec=/usr/bin/env EVBUS_CONFIG={config} {program("evbusd")}', service, flags=re.M)
    service = re.sub(r'^SystemdService=.*\n', '', service, flags=re.M)
    own_bus = Bus(folder / 'bus', environment)
    (own_bus.folder / 'services' / 'org.evbus1.service').write_text(service)
    caller = own_bus.client()
    caller.call('ReloadConfig', name='org.freedesktop.DBus', path='/org/freedesktop/DBus',
                interface='org.freedesktop.DBus')
    answer = subprocess.run(
        ['gdbus', 'call', '--address', own_bus.address, '-d', NAME, '-o', PATH, '-m', BROKER + '.Put',
         'order.created', "<{'id': <42>}>", 'default'], env=environment, text=True, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    wait_for(lambda: read_events(folder / 'events.jsonl'), 'the event')
    own_bus.stop()


def test_readiness_reload_and_stop_are_told(evbusd, client, folder):
    manager = NotifySocket(folder)
    daemon = evbusd(INTERNAL, env={'NOTIFY_SOCKET': manager.path}, start=False).spawn()
    assert manager.receive() == 'READY=1'
    assert client.owner()      # ready means: on the bus
    daemon.signal(signal.SIGHUP)
    assert re.fullmatch(r'RELOADING=1\nMONOTONIC_USEC=\d+', manager.receive())
    assert manager.receive() == 'READY=1'
    daemon.signal(signal.SIGTERM)
    assert manager.receive() == 'STOPPING=1'
    assert daemon.wait() == 0, daemon.log()


def test_an_abstract_notify_socket(evbusd):
    name = f'evbus-test-{os.getpid()}-{time.monotonic_ns()}'
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind('\0' + name)
    manager.settimeout(20)
    evbusd(INTERNAL, env={'NOTIFY_SOCKET': '@' + name})
    assert manager.recv(100) == b'READY=1'


def test_the_watchdog_hears_of_it(evbusd, folder):
    manager = NotifySocket(folder)
    evbusd(INTERNAL, env={'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '200000'})
    assert manager.receive() == 'READY=1'
    assert [manager.receive() for _ in range(3)] == ['WATCHDOG=1'] * 3


def freeze(daemon, thread):
    """A thread of the daemon does nothing more; see tests/support/freeze."""
    pid = daemon.process.pid
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
        if (task / 'comm').read_text().strip() == thread:
            assert ctypes.CDLL(None).tgkill(pid, int(task.name), signal.SIGUSR2) == 0
            return
    raise AssertionError(f'evbusd has no thread {thread}')


@pytest.fixture
def watched(evbusd, folder):
    """An evbusd whose threads can be frozen, and what its service manager hears: ready, and well."""
    manager = NotifySocket(folder)
    daemon = evbusd(INTERNAL, env={'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '200000',
                                   'LD_PRELOAD': preload('freeze', program('evbusd'))})
    assert [manager.receive() for _ in range(3)] == ['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']
    yield daemon, manager
    daemon.kill()


@pytest.mark.parametrize('thread', ['evbusd', 'evbus-listener', 'gdbus'])
def test_the_watchdog_hears_nothing_when_a_thread_hangs(watched, thread):
    daemon, manager = watched
    freeze(daemon, thread)
    manager.socket.settimeout(1)
    with pytest.raises(socket.timeout):
        # Those that were on their way.
        for _ in range(5):
            manager.receive()
    assert daemon.process.poll() is None


def test_the_watchdog_hears_of_it_while_a_route_hangs(watched, client):
    daemon, manager = watched
    client.wait_running(1)
    freeze(daemon, 'evbus-route')
    assert [manager.receive() for _ in range(5)] == ['WATCHDOG=1'] * 5


def test_the_watchdog_of_another_process_is_not_ours(evbusd, client, folder):
    manager = NotifySocket(folder)
    daemon = evbusd(INTERNAL, env={'NOTIFY_SOCKET': manager.path, 'WATCHDOG_USEC': '1000', 'WATCHDOG_PID': '1'})
    client.put('k', BODY)
    daemon.stop()
    assert [manager.receive(), manager.receive()] == ['READY=1', 'STOPPING=1']


def status(daemon, field):
    text = pathlib.Path(f'/proc/{daemon.process.pid}/status').read_text()
    return int(re.search(rf'^{field}:\s+(\d+)', text, re.M).group(1))


PLAIN = {'MALLOC_CHECK_': '0', 'G_DEBUG': ''}


@pytest.fixture
def small(evbusd, folder):
    # Nothing is dropped, however slow the machine is with a burst.
    block = 'delivery: {overflow: block}'
    return evbusd(f"internal: {{default: {{{block}}}}}\n"
                  f"file: {{default: {{path: {folder}/events.jsonl, {block}}}}}", env=PLAIN)


def test_resident_memory(small, client):
    client.put('k', BODY)
    client.wait_ledger(delivered=2)
    assert SANITIZED or status(small, 'VmRSS') <= 12 * 1024


def put_bursts(client, n, total):
    many = GLib.Variant('(a(svs))', ([('order.created', GLib.Variant('a{sv}', {'id': GLib.Variant('i', i)}), '')
                                      for i in range(n)],))
    for _ in range(total // n):
        client.connection.call_sync(NAME, PATH, BROKER, 'PutMany', many, None, 0, 20000, None)


def test_memory_after_a_burst(small, client):
    put_bursts(client, 1000, 1000)
    client.wait_ledger(delivered=2000)
    before = status(small, 'VmRSS')
    put_bursts(client, 1000, 100000)
    client.wait_ledger(delivered=202000)
    if not SANITIZED:
        wait_for(lambda: status(small, 'VmRSS') <= before + 2048, 'the memory to be given back')


def test_on_the_bus_in_time(evbusd, client, folder):
    """In processor time, as the machine may be busy with other tests; the bench has the clock."""
    daemon = evbusd(INTERNAL, env=PLAIN)
    with open(f'/proc/{daemon.process.pid}/stat') as stat:
        user, system = stat.read().rsplit(')', 1)[1].split()[11:13]
    assert SANITIZED or (int(user) + int(system)) / os.sysconf('SC_CLK_TCK') <= 0.1


def test_idle_is_idle(small, client):
    """No thread wakes up while nothing is asked of the service."""
    client.put('k', BODY)
    client.wait_ledger(delivered=2)

    def switches():
        total = 0
        for task in pathlib.Path(f'/proc/{small.process.pid}/task').iterdir():
            text = (task / 'status').read_text()
            total += sum(int(number) for number in re.findall(r'ctxt_switches:\s+(\d+)', text))
        return total

    # First the figures come to rest, and within two seconds of that the memory.
    last = [None, 0.0]

    def at_rest():
        now = switches()
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 2.5

    wait_for(at_rest, 'the service to come to rest')
    before = switches()
    threading.Event().wait(3)      # the time that is watched
    assert switches() == before


def test_secrets_are_in_no_log(evbusd, client):
    daemon = evbusd('sink: {default: {secret: geheim-4711, mode: broken}}', arguments=['--session', '--verbose'])
    client.put('k', BODY)
    wait_for(lambda: client.routes()[0]['state'] == 'broken', 'the route to be broken')
    assert 'geheim-4711' not in str(client.routes())
    daemon.kill()
    assert 'geheim-4711' not in daemon.log()


def test_a_bad_state_is_logged_once(evbusd, client):
    daemon = evbusd('sink: {default: {mode: broken}}')
    client.put('k', BODY)
    daemon.wait_log('broken: ')
    client.ledger()      # a round trip: the main loop has told what it was told
    daemon.stop()
    reasons = re.findall(r'broken: (.*) \[route sink ', daemon.log())
    assert reasons and len(reasons) == len(set(reasons)), daemon.log()


FORGED = 'k\nevbusd: forged\x1b[2J'


def test_a_client_writes_no_lines_into_the_log(evbusd, client):
    daemon = evbusd('sink: {default: {mode: poison}}')
    client.put(FORGED, BODY)
    client.put('k', BODY, 'nobody\nevbusd: forged')
    client.wait_ledger(dead=1)
    daemon.stop()
    assert '\nevbusd: forged' not in daemon.log() and '\x1b' not in daemon.log()


@pytest.mark.parametrize('mode,expected', [
    ('key', "route broken-python 'default': an exception in do_publish():"),
    ('idle', 'an exception of a plugin:'),
])
def test_nor_through_an_exception_of_a_plugin(evbusd, client, mode, expected):
    path = f'{plugin_path()}:{build_root()}/tests/support/broken-plugins'
    # What the interpreter inside leaks is told from leaks of ours by names deep in the stack.
    env = {'EVBUS_PLUGIN_PATH': path,
           'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':intercept_tls_get_addr=0:fast_unwind_on_malloc=0'}
    daemon = evbusd(f'broken-python: {{default: {{mode: {mode}}}}}', env=env)
    client.put(FORGED, BODY)
    # Which takes its time: each allocation of the interpreter's is looked at.
    wait_for(lambda: 'ValueError: k' in daemon.log(), 'the exception', deadline=120)
    daemon.stop()
    assert expected in daemon.log()
    assert 'evbus_broken_python.py", line' in daemon.log()
    assert '\nevbusd: forged' not in daemon.log() and '\x1b' not in daemon.log()
