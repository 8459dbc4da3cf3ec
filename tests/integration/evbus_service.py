# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every test of the programs needs: a private bus, evbusd on it, and a
client. The fixtures that hand these out are in conftest.py."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib  # noqa: E402

NAME = 'org.evbus1'
PATH = '/org/evbus1'
BROKER = 'org.evbus1.Broker'
MANAGER = 'org.evbus1.Manager'
ERROR = 'org.evbus1.Error.'
# What evbusd and evbusctl are run under: memcheck, where tests/meson.build says so.
WRAPPER = shlex.split(os.environ.get('EVBUS_TEST_WRAPPER', ''))
DEADLINE = 60 if WRAPPER else 20
# In a line of evbusd's log, and as GLib itself writes it before there is one.
MISUSE = re.compile(r'^.*(CRITICAL|critical:|^GLib[-\w]*: warning:|\bGLib[-\w]*-WARNING).*$', re.MULTILINE)


def build_root():
    """The build folder; EVBUS_BUILDDIR names another one than meson's."""
    for name in ('EVBUS_BUILDDIR', 'MESON_BUILD_ROOT'):
        if os.environ.get(name):
            return pathlib.Path(os.environ[name])
    # meson's G_TEST_BUILDDIR is the folder tests/ of the build.
    if os.environ.get('G_TEST_BUILDDIR'):
        return pathlib.Path(os.environ['G_TEST_BUILDDIR']).parent
    raise RuntimeError('run this with "meson test", or set EVBUS_BUILDDIR to the build folder')


def source_root():
    return pathlib.Path(__file__).resolve().parents[2]


def program(name):
    """The path of one of the build's programs: evbusd or evbusctl."""
    path = build_root() / 'service' / name / name
    if not path.exists():
        raise RuntimeError(f'{path} is not built')
    return str(path)


def sanitized():
    """Whether evbusd has the sanitizer in it, which takes memory and time of its own."""
    return b'__asan_init' in pathlib.Path(program('evbusd')).read_bytes()


def preload(name, program_path=None):
    """LD_PRELOAD with a library of tests/support; in front of it the sanitizer's, if the program has it."""
    first = []
    if program_path:
        libraries = subprocess.run(['ldd', program_path], capture_output=True, text=True, check=True).stdout
        first = [word for word in libraries.split() if word.startswith('/') and 'libasan' in word]
    return ' '.join([*first, f'{build_root()}/tests/support/{name}/libevbus-{name}.so'])


def plugin_path():
    """The build's plugins, and those that only tests have (`sink`)."""
    return f'{build_root()}/plugins:{build_root()}/tests/support/plugins'


def wait_for(condition, what, deadline=DEADLINE):
    """Returns the first true value of condition(); fails once the deadline (s) is over."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'waited {deadline} s in vain for {what}')
        GLib.MainContext.default().iteration(False)
        time.sleep(0.005)  # poll


def drain_context():
    """Lets everything be seen that has arrived by now."""
    while GLib.MainContext.default().iteration(False):
        pass


def iterate_until(condition, what, deadline=DEADLINE):
    """As wait_for, for a condition that the default main context makes true."""
    context = GLib.MainContext.default()
    expired = []
    source = GLib.timeout_source_new(int(deadline * 1000))
    source.set_callback(lambda *_: expired.append(True))
    source.attach(context)
    try:
        while not condition():
            if expired:
                raise AssertionError(f'waited {deadline} s in vain for {what}')
            context.iteration(True)
    finally:
        source.destroy()


def count_descriptors(process, what):
    """How many it has open; @what: 'pipe' or 'socket'."""
    n = 0
    for name in os.listdir(f'/proc/{process.pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            n += os.readlink(f'/proc/{process.pid}/fd/{name}').startswith(f'{what}:')
    return n


class CallError(Exception):
    """A D-Bus error as the client saw it."""

    def __init__(self, error):
        self.name = Gio.DBusError.get_remote_error(error) or ''
        Gio.DBusError.strip_remote_error(error)
        self.message = error.message
        super().__init__(f'{self.name}: {self.message}')


class Client:
    """One connection to the bus."""

    def __init__(self, address):
        self.connection = Gio.DBusConnection.new_for_address_sync(
            address,
            Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION,
            None, None)
        self.connection.set_exit_on_close(False)
        self.events = []
        self.pings = 0

    @property
    def unique_name(self):
        return self.connection.get_unique_name()

    def call(self, method, signature='()', *arguments, interface=BROKER, name=NAME, path=PATH, timeout=DEADLINE):
        """Calls and returns the unpacked results as a tuple."""
        try:
            reply = self.connection.call_sync(
                name, path, interface, method, GLib.Variant(signature, tuple(arguments)),
                None, Gio.DBusCallFlags.NO_AUTO_START, int(timeout * 1000), None)
        except GLib.Error as error:
            raise CallError(error) from None
        return reply.unpack()

    def start(self, method, signature, *arguments, interface=BROKER, timeout=DEADLINE):
        """Calls without waiting; the list that is returned gets one entry:
        the unpacked results, or a CallError."""
        answer = []

        def done(connection, result):
            try:
                answer.append(connection.call_finish(result).unpack())
            except GLib.Error as error:
                answer.append(CallError(error))

        self.connection.call(NAME, PATH, interface, method, GLib.Variant(signature, tuple(arguments)),
                             None, Gio.DBusCallFlags.NO_AUTO_START, int(timeout * 1000), None, done)
        return answer

    def finish(self, answer, what='an answer'):
        iterate_until(lambda: answer, what)
        if isinstance(answer[0], CallError):
            raise answer[0]
        return answer[0]

    def put(self, routing_key, body, profile=''):
        """Puts a GLib.Variant; returns the id."""
        return self.call('Put', '(svs)', routing_key, body, profile)[0]

    def subscribe(self, **options):
        """Subscribes; events are then appended to self.events as dictionaries."""
        if not self.events and not getattr(self, 'listening', False):
            self.connection.signal_subscribe(NAME, BROKER, 'Event', PATH, None,
                                             Gio.DBusSignalFlags.NO_MATCH_RULE, self._on_event)
            self.listening = True
        options = {key.replace('_', '-'): GLib.Variant('s', value) for key, value in options.items()}
        return self.call('Subscribe', '(a{sv})', options)[0]

    def _on_event(self, _connection, _sender, _path, _interface, _signal, parameters):
        names = ('subscription', 'id', 'time', 'routing_key', 'profile', 'body', 'attributes')
        event = dict(zip(names, parameters.unpack()))
        event['variant'] = parameters.get_child_value(5).get_variant()
        self.events.append(event)

    def wait_events(self, n):
        iterate_until(lambda: len(self.events) >= n, f'{n} events (have {len(self.events)})')
        return self.events

    def ledger(self):
        return self.call('GetLedger', interface=MANAGER)[0]

    def routes(self):
        return self.call('ListRoutes', interface=MANAGER)[0]

    def wait_running(self, n):
        """Waits until n routes run; returns all the routes."""
        wait_for(lambda: sum(route['state'] == 'running' for route in self.routes()) == n, f'{n} running routes')
        return self.routes()

    def wait_ledger(self, **expected):
        """Waits until the ledger has these figures, checks that it balances, returns it."""
        wait_for(lambda: all(self.ledger()[key] == value for key, value in expected.items()),
                 f'the ledger to have {expected}; it is {self.ledger()}')
        return assert_balanced(self.ledger())

    def property(self, name, interface=MANAGER):
        return self.call('Get', '(ss)', interface, name, interface='org.freedesktop.DBus.Properties')[0]

    def owner(self, name=NAME):
        """The unique name of who owns a name, or None."""
        try:
            return self.call('GetNameOwner', '(s)', name, interface='org.freedesktop.DBus',
                             name='org.freedesktop.DBus', path='/org/freedesktop/DBus')[0]
        except CallError:
            return None

    def close(self):
        if not self.connection.is_closed():
            self.connection.close_sync(None)


def assert_balanced(ledger):
    parts = ('delivered', 'dead', 'expired', 'dropped', 'queued')
    assert ledger['accepted'] == sum(ledger[part] for part in parts), ledger
    return ledger


BUS_CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{type}</type>
  <listen>unix:path={folder}/socket</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}/services</servicedir>
  {policy}
</busconfig>
'''

OPEN_POLICY = '''<policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_replies_per_connection">50000</limit>'''


class Bus:
    """A private dbus-daemon. folder/services takes D-Bus activation files."""

    def __init__(self, folder, environment, bus_type='session', policy=OPEN_POLICY):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / 'services').mkdir(exist_ok=True)
        config = self.folder / 'bus.conf'
        config.write_text(BUS_CONFIG.format(type=bus_type, folder=self.folder, policy=policy))
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            ['dbus-daemon', f'--config-file={config}', '--nofork', '--nopidfile', f'--print-address={write_end}'],
            pass_fds=[write_end], env=environment, stderr=open(self.folder / 'log', 'wb'))
        os.close(write_end)
        with os.fdopen(read_end) as stream:
            self.address = stream.readline().strip()
        assert self.address, (self.folder / 'log').read_text()
        self.clients = []

    def client(self):
        client = Client(self.address)
        self.clients.append(client)
        return client

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Daemon:
    """An evbusd process. start() returns once it owns its name."""

    def __init__(self, bus, folder, environment, arguments, wrapper=()):
        self.bus = bus
        self.folder = pathlib.Path(folder)
        self.log_path = self.folder / f'evbusd-{time.monotonic_ns()}.log'
        self.arguments = [*(wrapper or WRAPPER), program('evbusd'), *arguments]
        self.environment = environment
        self.process = None
        self.asked_to_stop = False

    def spawn(self, **keywords):
        with open(self.log_path, 'ab') as log:
            self.asked_to_stop = False
            self.process = subprocess.Popen(self.arguments, env=self.environment, cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, **keywords)
        return self

    def start(self, **keywords):
        self.spawn(**keywords)
        client = self.bus.client()

        def ready():
            assert self.process.poll() is None, f'evbusd ended with {self.process.returncode}:\n{self.log()}'
            return client.owner()

        wait_for(ready, 'evbusd to be on the bus')
        client.close()
        return self

    def log(self):
        return self.log_path.read_text(errors='replace') if self.log_path.exists() else ''

    def wait_log(self, text):
        wait_for(lambda: text in self.log(), f'“{text}” in the log, which is:\n{self.log()}')

    def signal(self, number):
        if number in (signal.SIGTERM, signal.SIGINT):
            self.asked_to_stop = True
        self.process.send_signal(number)

    def audit(self):
        """Reads the ledger, the service's and each route's: every one balances."""
        client = self.bus.client()
        try:
            assert_balanced(client.ledger())
            for route in client.routes():
                assert_balanced(route['ledger'])
        finally:
            client.close()

    def assert_last_words(self):
        """The figures in the log of its end balance as well."""
        for line in self.log().splitlines():
            # The reason of a route may say "… was stopped: …" too.
            if re.search(r'stopped: \d+ accepted', line):
                figures = {name: int(n) for n, name in re.findall(r'(\d+) (accepted|delivered|dead|expired|dropped|queued)\b', line)}
                assert_balanced(figures)
                return
        raise AssertionError(f'evbusd ended and did not say what came of its events:\n{self.log()}')

    def assert_no_misuse(self):
        """No library complains of how evbusd calls it: a warning of GLib's is a fault of evbusd."""
        found = MISUSE.search(self.log())
        assert not found, f'“{found[0]}” in the log of evbusd:\n{self.log()[-20000:]}'

    def wait(self, deadline=DEADLINE):
        """Waits for the end; returns the exit status. Of 0 the ledger is the last word."""
        try:
            status = self.process.wait(deadline)
            self.assert_no_misuse()
            if status == 0:
                self.assert_last_words()
            return status
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f'evbusd did not end in {deadline} s:\n{self.log()}') from None

    def stop(self):
        """The ledger, then SIGTERM; every orderly end is 0."""
        if self.process.poll() is None:
            if not self.asked_to_stop:
                self.audit()
            self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f'evbusd ended with {status}:\n{self.log()}'

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def read_events(path):
    """The events a file route has written to path, in order."""
    try:
        text = pathlib.Path(path).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]
