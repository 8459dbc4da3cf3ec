# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the tests of the programs.

    def test_it(evbusd, client):
        evbusd(config='internal: {default: {}}')     # a running evbusd
        client.put('order.created', GLib.Variant('i', 42))

`folder` is the test's own, `environment` what its programs run in: private
XDG folders, a private bus as the session's and the system's, nothing of the
user's. What a test starts through these fixtures is stopped after it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from evbus_service import WRAPPER, Bus, Daemon, build_root, plugin_path, program, read_events

FORGET = ('EVBUS_CONFIG', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'JOURNAL_STREAM', 'INVOCATION_ID',
          'G_MESSAGES_DEBUG', 'DBUS_STARTER_ADDRESS', 'DBUS_STARTER_BUS_TYPE', 'CREDENTIALS_DIRECTORY')


def private_environment(folder):
    """os.environ with every folder of the user replaced by one below folder."""
    environment = {key: value for key, value in os.environ.items() if key not in FORGET}
    for variable, name in (('HOME', 'home'), ('XDG_CONFIG_HOME', 'config'), ('XDG_STATE_HOME', 'state'),
                           ('XDG_DATA_HOME', 'share'), ('XDG_CACHE_HOME', 'cache'), ('XDG_RUNTIME_DIR', 'run')):
        path = folder / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment[variable] = str(path)
    build = build_root()
    environment['EVBUS_PLUGIN_PATH'] = plugin_path()
    environment['LD_LIBRARY_PATH'] = f'{build}/evbus'
    environment['GI_TYPELIB_PATH'] = f'{build}/evbus'
    environment['LC_ALL'] = 'C.UTF-8'
    return environment


@pytest.fixture(scope='module')
def bus():
    """One private bus for the tests of a file."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='evbus-bus-'))
    bus = Bus(folder, private_environment(folder))
    yield bus
    bus.close_clients()
    bus.stop()
    shutil.rmtree(folder)


@pytest.fixture
def folder():
    """A new folder; short, because a socket's path has at most 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix='evbus-'))
    yield path
    shutil.rmtree(path)


def environment_on(bus, folder):
    environment = private_environment(folder)
    environment['DBUS_SESSION_BUS_ADDRESS'] = bus.address
    environment['DBUS_SYSTEM_BUS_ADDRESS'] = bus.address
    return environment


@pytest.fixture
def environment(folder, bus):
    return environment_on(bus, folder)


@contextlib.contextmanager
def starting_daemons(folder, environment, bus):
    """evbusd(config=TEXT) starts one with that configuration and waits until it
    is on the bus; see Daemon for what comes back. arguments=[...] instead of
    ['--session'], env={...} on top of the environment; start=False leaves
    .spawn() or .start() to the test. At the end the ledger of each and of its
    routes must balance, and it must stop with 0, unless the test has waited for
    its end itself; then what its log says of the events must balance."""
    daemons = []

    def make(config=None, arguments=('--session',), env=None, start=True, wrapper=()):
        arguments = list(arguments)
        if config is not None:
            path = folder / f'profiles-{len(daemons)}.yaml'
            path.write_text(config)
            arguments += ['--config', str(path)]
        daemon = Daemon(bus, folder, {**environment, **(env or {})}, arguments, wrapper)
        daemon.config = path if config is not None else None
        daemons.append(daemon)
        return daemon.start() if start else daemon

    yield make
    try:
        for daemon in daemons:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()
    finally:
        for daemon in daemons:
            daemon.kill()


@pytest.fixture
def evbusd(folder, environment, bus):
    with starting_daemons(folder, environment, bus) as make:
        yield make


@pytest.fixture(scope='module')
def shared_evbusd(bus):
    """The same for all tests of a file, each of which has to look at what is its own alone."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='evbus-'))
    with starting_daemons(folder, environment_on(bus, folder), bus) as make:
        yield make
    shutil.rmtree(folder)


@pytest.fixture
def held(folder):
    """A configuration whose route cannot deliver yet; let() makes it so that it can."""
    target = folder / 'out'
    target.write_text('in the way')

    class Held:
        config = f'file: {{default: {{path: {target}/events.jsonl}}}}'
        events = staticmethod(lambda: read_events(target / 'events.jsonl'))

        @staticmethod
        def let():
            target.unlink()
            target.mkdir()

    return Held


@pytest.fixture
def client(bus):
    """A connection to the bus of its own."""
    client = bus.client()
    yield client
    client.close()


@pytest.fixture
def evbusctl(environment, folder):
    """evbusctl('status', '--json') runs it and returns the CompletedProcess,
    with stdout and stderr as text. input=, env= and timeout= as one expects."""
    def run(*arguments, input=None, env=None, timeout=60):
        return subprocess.run([*WRAPPER, program('evbusctl'), *arguments], input=input, text=True, capture_output=True,
                              cwd=folder, env={**environment, **(env or {})}, timeout=timeout, check=False)
    return run
