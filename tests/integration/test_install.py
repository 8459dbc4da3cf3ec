# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `meson install` lays down is what a user and a packager need."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest

from evbus_service import build_root, read_events, source_root

EXPECTED = [
    'bin/evbusctl',
    'bin/evbusd',
    'include/evbus-1/evbus/evbus.h',
    'include/evbus-1/evbus/evbus-broker.h',
    'include/evbus-1/evbus/evbus-enum-types.h',
    'include/evbus-1/evbus/evbus-version.h',
    'lib/*/libevbus-1.so',
    'lib/*/pkgconfig/evbus-1.pc',
    'lib/*/girepository-1.0/Evbus-1.typelib',
    'lib/*/evbus-1/plugins/file/file.plugin',
    'lib/*/evbus-1/plugins/file/libevbus-file.so',
    'lib/*/evbus-1/plugins/internal/internal.plugin',
    'lib/*/evbus-1/plugins/internal/libevbus-internal.so',
    'lib/*/evbus-1/plugins/python-example/evbus_example.py',
    'share/bash-completion/completions/evbusctl',
    'share/dbus-1/interfaces/org.evbus1.Broker.xml',
    'share/dbus-1/interfaces/org.evbus1.Manager.xml',
    'share/dbus-1/interfaces/org.evbus1.Route.xml',
    'share/dbus-1/services/org.evbus1.service',
    'share/dbus-1/system-services/org.evbus1.service',
    'share/dbus-1/system.d/org.evbus1.conf',
    'share/gir-1.0/Evbus-1.gir',
    'share/man/man1/evbusctl.1',
    'share/man/man1/evbusd.1',
    'share/vala/vapi/evbus-1.vapi',
]

PROGRAM = '''
#include <evbus/evbus.h>

int
main (void)
{
  g_autoptr(EvbusBroker) broker = evbus_broker_new ();
  return evbus_broker_get_routes (broker) == NULL;
}
'''


def run(arguments, **options):
    result = subprocess.run([str(argument) for argument in arguments], text=True, capture_output=True,
                            timeout=900, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    """The prefix of a complete installation below a folder of its own."""
    folder = tmp_path_factory.mktemp('install')
    run(['meson', 'install', '-C', build_root(), '--no-rebuild', '--destdir', folder])
    (pc,) = folder.rglob('evbus-1.pc')
    (line,) = re.findall(r'^prefix=(.*)$', pc.read_text(encoding='utf-8'), re.MULTILINE)
    return folder, folder / line.lstrip('/')


@pytest.mark.parametrize('pattern', EXPECTED)
def test_is_installed(prefix, pattern):
    assert list(prefix[1].glob(pattern)), f'no {pattern} below the prefix'


@pytest.mark.parametrize('name', ['amqp', 'http', 'kafka', 'mqtt', 'nats', 'redis'])
def test_a_provider_is_there_or_known(prefix, name):
    plugin = list(prefix[1].glob(f'lib/*/evbus-1/plugins/{name}/{name}.plugin'))
    known = list(prefix[1].glob(f'lib/*/evbus-1/plugins/known/{name}.provider'))
    assert len(plugin) + len(known) == 1
    assert (prefix[1] / 'share/evbus/profiles' / f'{name}.yaml').exists()
    assert bool(plugin) == bool(list(prefix[1].glob(f'lib/*/evbus-1/plugins/{name}/libevbus-{name}.so')))


def test_nothing_of_the_tests_is_installed(prefix):
    names = [path.name for path in prefix[0].rglob('*') if path.is_file()]
    assert not [name for name in names if re.match(r'(test-|bench-|fuzz-|evbus-example|libevbus-sink)', name)]
    assert not [name for name in names if name.endswith('-private.h')]


def test_a_program_builds_against_it(prefix, tmp_path):
    destdir, where = prefix
    (pc,) = destdir.rglob('evbus-1.pc')
    (library,) = where.glob('lib/*/libevbus-1.so')
    (tmp_path / 'program.c').write_text(PROGRAM, encoding='utf-8')
    # No sysroot: it would also stand before the folders of GLib.
    text = pc.read_text(encoding='utf-8').replace('prefix=/', f'prefix={destdir}/', 1)
    (tmp_path / 'evbus-1.pc').write_text(text, encoding='utf-8')
    flags = run(['pkg-config', '--cflags', '--libs', 'evbus-1'],
                env={**os.environ, 'PKG_CONFIG_PATH': str(tmp_path)})
    run(['cc', '-Wall', '-Werror', '-o', tmp_path / 'program', tmp_path / 'program.c', *shlex.split(flags)])
    run([tmp_path / 'program'], env={**os.environ, 'LD_LIBRARY_PATH': str(library.parent)})


def test_only_evbus_names_are_exported(prefix):
    (library,) = prefix[1].glob('lib/*/libevbus-1.so')
    names = [line.split()[-1] for line in run(['nm', '-D', '--defined-only', library]).splitlines()]
    assert names
    assert not [name for name in names if not name.startswith('evbus_')]


def test_headers_export_what_the_library_does(prefix):
    """Each function that a public header declares is there, and no other is."""
    declared = set()
    for header in prefix[1].glob('include/evbus-1/evbus/*.h'):
        text = header.read_text(encoding='utf-8')
        declared.update(re.findall(r'EVBUS_AVAILABLE_IN_1_0\s[^;{]*?\b(evbus_\w+)\s*\(', text))
        for name in re.findall(r'G_DECLARE_\w+\s*\(\w+, (evbus_\w+),', text):
            declared.add(f'{name}_get_type')
    (library,) = prefix[1].glob('lib/*/libevbus-1.so')
    names = {line.split()[-1] for line in run(['nm', '-D', '--defined-only', library]).splitlines()}
    assert sorted(names ^ declared) == []


def test_sources_name_no_place_of_the_build(prefix):
    """What is installed works elsewhere: no path of the build or the source folder."""
    for path in prefix[0].rglob('*'):
        if path.is_file() and not path.is_symlink() and path.suffix in ('.pc', '.service', '.conf', '.gir', '.plugin', '.provider'):
            text = path.read_text(encoding='utf-8')
            for place in build_root(), source_root():
                # As a path of its own: '/evbus' may be the source folder, and is in '/usr/bin/evbusd'.
                assert not re.search(rf'(?<![\w./-]){re.escape(str(place))}(?![\w.-])', text), (path, place)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The prefix of an installation that stands where it was configured to. The
    programs look for plugins there, which those of a DESTDIR do not."""
    folder = tmp_path_factory.mktemp('installed')
    run(['meson', 'setup', folder / 'build', source_root(), f'--prefix={folder}/usr', '--buildtype=plain',
         '-Dtests=false', '-Dintrospection=false'])
    run(['meson', 'install', '-C', folder / 'build', '--quiet'])
    return folder / 'usr'


def test_the_installed_programs_find_the_installed_plugins(installed, evbusd, environment, client, folder):
    (library,) = installed.glob('lib/*/libevbus-1.so')
    own = {'EVBUS_PLUGIN_PATH': '', 'GI_TYPELIB_PATH': '', 'LD_LIBRARY_PATH': str(library.parent)}
    daemon = evbusd(f'internal: {{"*": {{}}}}\nfile: {{"*": {{path: {folder}/events.jsonl}}}}', env=own, start=False)
    daemon.arguments[0] = str(installed / 'bin/evbusd')
    daemon.start()
    event_id = run([installed / 'bin/evbusctl', 'put', 'order.created', '{"id": 42}'],
                   env={**environment, **own}).strip()
    client.wait_ledger(accepted=2, delivered=2)
    (event,) = read_events(folder / 'events.jsonl')
    assert (event['id'], event['routing_key'], event['body']) == (event_id, 'order.created', {'id': 42})
    mapped = {line.split()[-1] for line in pathlib.Path(f'/proc/{daemon.process.pid}/maps').read_text().splitlines()}
    ours = {path for path in mapped if 'evbus' in pathlib.Path(path).name}
    assert len(ours) == 4 and all(path.startswith(f'{installed}/') for path in ours), ours


def test_the_build_folder_works_uninstalled(environment):
    """`meson devenv` alone leads the programs and the interpreters to the build's own."""
    bare = {name: value for name, value in environment.items()
            if name not in ('EVBUS_PLUGIN_PATH', 'GI_TYPELIB_PATH', 'LD_LIBRARY_PATH')}
    devenv = ['meson', 'devenv', '-C', build_root()]
    providers = run([*devenv, 'evbusctl', 'providers'], env=bare)
    assert re.search(r'^file ', providers, re.MULTILINE) and re.search(r'^internal ', providers, re.MULTILINE)
    line = run([*devenv, '/usr/bin/python3', source_root() / 'doc/examples/put.py'], env=bare)
    assert line.endswith(' order.created {"id":42}\n')
