# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system bus: its policy, and what is installed for it."""

import configparser
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from evbus_service import (BROKER, MANAGER, NAME, PATH, Bus, Daemon, build_root, iterate_until, sanitized,
                           source_root)

OBJECTS = 'org.freedesktop.DBus.ObjectManager'

# Users and groups that every system has stand for the service's own.
SERVICE_USER, MEMBER_GROUP = 'daemon', 'games'

# As the policy of a system bus begins.
DEFAULT_POLICY = '''<policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
  </policy>
  <include>{folder}/org.evbus1.conf</include>'''


def as_user(user, group):
    return ['setpriv', f'--reuid={user}', f'--regid={group}', '--clear-groups', '--inh-caps=-all']


@pytest.fixture
def system(folder, environment):
    """A bus with evbus's policy, evbusd on it as its own user; and a function
    that calls a method as some user."""
    folder.chmod(0o755)
    bus_folder = folder / 'bus'
    bus_folder.mkdir()
    policy = (source_root() / 'data' / 'org.evbus1.conf').read_text()
    policy = policy.replace('user="evbus"', f'user="{SERVICE_USER}"').replace('group="evbus"', f'group="{MEMBER_GROUP}"')
    (bus_folder / 'org.evbus1.conf').write_text(policy)
    bus = Bus(bus_folder, environment, bus_type='system', policy=DEFAULT_POLICY.format(folder=bus_folder))

    # The build may lie where another user cannot look.
    build = folder / 'build'
    shutil.copytree(build_root() / 'plugins', build / 'plugins', ignore=shutil.ignore_patterns('*.p'))
    (build / 'lib').mkdir()
    for library in (build_root() / 'evbus').glob('libevbus-1.so*'):
        if library.is_file():
            shutil.copy(library, build / 'lib', follow_symlinks=False)
    shutil.copy(build_root() / 'service' / 'evbusd' / 'evbusd', build)
    config = folder / 'system.yaml'
    config.write_text("internal: {'*': {}}")

    state = folder / 'service-state'
    state.mkdir()
    shutil.chown(state, SERVICE_USER, SERVICE_USER)

    environment = {**environment, 'DBUS_SYSTEM_BUS_ADDRESS': bus.address, 'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nowhere',
                   'LD_LIBRARY_PATH': str(build / 'lib'), 'EVBUS_PLUGIN_PATH': str(build / 'plugins'),
                   'EVBUS_CONFIG': str(config), 'STATE_DIRECTORY': f'{state}:/nowhere'}
    daemon = Daemon(bus, folder, environment, ['--system'])
    daemon.arguments = [*as_user(SERVICE_USER, SERVICE_USER), str(build / 'evbusd'), '--system']

    def call(user, group, method, *arguments, interface=BROKER):
        return subprocess.run(
            [*as_user(user, group), 'gdbus', 'call', '--system', '-d', NAME, '-o', PATH, '-m', f'{interface}.{method}',
             *arguments], env=environment, text=True, capture_output=True, check=False)

    daemon.call = call
    daemon.policy_bus = bus
    daemon.start()
    yield daemon
    daemon.stop()
    bus.close_clients()
    bus.stop()


PUT = ('Put', 'k', "<{'id': <42>}>", '')


@pytest.mark.parametrize('user,group,call,interface,allowed', [
    ('nobody', 'nogroup', PUT, BROKER, False),
    ('nobody', 'nogroup', ('Subscribe', '{}'), BROKER, False),
    ('nobody', 'nogroup', ('ListRoutes',), MANAGER, False),
    ('nobody', MEMBER_GROUP, PUT, BROKER, True),
    ('nobody', MEMBER_GROUP, ('Subscribe', '{}'), BROKER, True),
    ('nobody', MEMBER_GROUP, ('ListRoutes',), MANAGER, True),
    ('nobody', MEMBER_GROUP, ('GetLedger',), MANAGER, True),
    ('nobody', MEMBER_GROUP, ('Explain', 'p'), MANAGER, True),
    ('nobody', MEMBER_GROUP, ('GetManagedObjects',), OBJECTS, True),
    ('nobody', 'nogroup', ('GetManagedObjects',), OBJECTS, False),
    ('nobody', MEMBER_GROUP, ('Reload',), MANAGER, False),
    ('nobody', MEMBER_GROUP, ('Pause', ''), MANAGER, False),
    ('root', 'root', ('Flush', ''), MANAGER, True),
    (SERVICE_USER, SERVICE_USER, ('Reload',), MANAGER, True),
    ('root', 'root', ('Reload',), MANAGER, True),
    ('root', 'root', PUT, BROKER, True),
])
def test_who_may_do_what(system, user, group, call, interface, allowed):
    done = system.call(user, group, *call, interface=interface)
    assert (done.returncode == 0) == allowed, done.stderr
    assert allowed or 'AccessDenied' in done.stderr


LISTENER = '''
import sys
from gi.repository import Gio, GLib
connection = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
                                                     | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
def on_signal(_connection, _sender, _path, interface, signal, _parameters):
    print(interface, flush=True)
    if interface == 'org.example.Last':
        loop.quit()
for interface in ('org.freedesktop.DBus.Properties', 'org.example.Last'):
    connection.signal_subscribe(None, interface, None, None, None, Gio.DBusSignalFlags.NONE, on_signal)
loop = GLib.MainLoop()
connection.call_sync('org.freedesktop.DBus', '/', 'org.freedesktop.DBus', 'GetId', None, None, 0, -1, None)
print('ready', flush=True)
loop.run()
'''


@pytest.mark.parametrize('group,hears', [(MEMBER_GROUP, True), ('nogroup', False)])
def test_who_hears_of_changes(system, group, hears):
    """What changes at a route is sent to all who listen; a signal of another program, which
    comes behind it, tells when that was."""
    client = system.policy_bus.client()
    heard = []
    client.connection.signal_subscribe(NAME, 'org.freedesktop.DBus.Properties', None, None, None, 0,
                                       lambda *arguments: heard.append(str(arguments[5])))
    with subprocess.Popen([*as_user('nobody', group), sys.executable, '-c', LISTENER, system.policy_bus.address],
                          stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout.readline() == 'ready\n'
        client.call('Pause', '(s)', '', interface=MANAGER)
        iterate_until(lambda: any("'paused'" in text for text in heard), 'the pause to be told')
        client.connection.emit_signal(None, '/', 'org.example.Last', 'Last', None)
        lines = listener.stdout.read().splitlines()
    assert lines[-1] == 'org.example.Last'
    assert ('org.freedesktop.DBus.Properties' in lines) == hears


def test_nobody_else_owns_the_name(system):
    system.stop()
    impostor = subprocess.run([*as_user('nobody', MEMBER_GROUP), *system.arguments[system.arguments.index(
        next(argument for argument in system.arguments if argument.endswith('evbusd'))):], '--no-spool'],
        env=system.environment, text=True, capture_output=True, check=False, timeout=20)
    assert impostor.returncode == 1
    assert 'cannot own the name org.evbus1' in impostor.stderr


def test_a_member_is_asked_whether_it_reads(system):
    """The service's Ping passes the policy: a refused one would come from the
    bus at once, and hold nobody back."""
    log = system.policy_bus.folder / 'log'
    client = system.policy_bus.client()
    client.subscribe()
    assert system.call('nobody', MEMBER_GROUP, *PUT).returncode == 0
    client.wait_events(1)
    assert 'Ping' not in log.read_text()


def test_no_other_process_of_its_user_reads_its_memory(system):
    """Neither a core dump nor a debugger gets at events and secrets. The
    sanitizer has to look into its own process, and keeps this open."""
    def read_environ():
        return subprocess.run([*as_user(SERVICE_USER, SERVICE_USER), 'cat', f'/proc/{system.process.pid}/environ'],
                              capture_output=True, check=False).returncode

    assert (read_environ() == 0) == sanitized()


# --- what is installed

def unit(name):
    return build_root() / 'data' / name


def runnable(name, folder):
    """The unit, with programs that exist."""
    text = re.sub(r'^(Exec\w+)=\S+', r'\1=/bin/true', unit(name).read_text(), flags=re.M)
    path = folder / 'evbusd.service'
    path.write_text(text)
    return path


@pytest.mark.parametrize('name,options', [('evbusd.service', ['--system']), ('evbusd-user.service', ['--user'])])
def test_systemd_understands_the_units(folder, environment, name, options):
    done = subprocess.run(['systemd-analyze', *options, '--man=no', '--recursive-errors=no', 'verify', str(runnable(name, folder))],
                          env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_unit_is_locked_up(folder, environment):
    """The threshold is in tenths; 12 is what it has."""
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=15', '--no-pager',
                           str(runnable('evbusd.service', folder))],
                          env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def read_service(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(unit(name))
    return parser['D-BUS Service']


def test_the_activation_files():
    session, system_file = read_service('org.evbus1.service'), read_service('org.evbus1.system.service')
    for service in (session, system_file):
        assert service['Name'] == NAME
        assert pathlib.Path(service['Exec'].split()[0]).name == 'evbusd'
        assert service['SystemdService'] == 'evbusd.service'
    assert session['Exec'].endswith('--session')
    assert system_file['Exec'].endswith('--system') and system_file['User'] == 'evbus'


def test_the_user_of_the_unit_is_made():
    users = (source_root() / 'data' / 'evbus.sysusers').read_text()
    assert re.search(r'^u evbus ', users, re.M)
    assert re.search(r'^User=evbus$', unit('evbusd.service').read_text(), re.M)
