# SPDX-License-Identifier: LGPL-2.1-or-later
"""A build on a system that lacks client libraries."""

import os
import pathlib
import re
import shutil
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LIBRARIES = {'amqp': 'librabbitmq', 'kafka': 'rdkafka', 'nats': 'libnats', 'mqtt': 'libmosquitto', 'redis': 'hiredis',
             'http': 'libcurl'}


def configure(folder, missing, *options):
    """What `meson setup` says where these libraries are not there."""
    hidden = folder / 'pkgconfig'
    hidden.mkdir()
    for library in missing:
        (hidden / f'{library}.pc').write_text(
            f'Name: {library}\nDescription: none\nVersion: 0\nRequires: evbus-no-such-library\n')
    command = [shutil.which('meson'), 'setup', folder / 'build', SOURCE, '-Dtests=false', '-Dintrospection=false', *options]
    return subprocess.run(command, env={**os.environ, 'PKG_CONFIG_PATH': str(hidden)}, text=True, capture_output=True,
                          check=False)


def test_plugins_without_their_library_are_left_out(folder):
    result = configure(folder, LIBRARIES.values())
    assert result.returncode == 0, result.stdout + result.stderr
    installed = (folder / 'build' / 'meson-info' / 'intro-install_plan.json').read_text()
    for name, library in LIBRARIES.items():
        assert re.search(rf'^ *{name} *: left out, for there is no {library}( >= [.\d]+)?$', result.stdout, re.MULTILINE), result.stdout
        # Its profiles are known nevertheless.
        assert f'known/{name}.provider' in installed and f'evbus-{name}.so' not in installed
    assert re.search(r'^ *built *: file internal$', result.stdout, re.MULTILINE), result.stdout


def test_an_owner_can_ask_for_all_of_them(folder):
    result = configure(folder, ['hiredis'], '-Dproviders=enabled')
    assert result.returncode != 0
    assert 'Dependency "hiredis" not found' in result.stdout
