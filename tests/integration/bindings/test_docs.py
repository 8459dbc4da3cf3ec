# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of the documentation do what the text beside them says."""

import base64
import os
import re
import shlex
import subprocess

import pytest

from evbus_service import GLib, build_root, program, read_events, source_root, wait_for

BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
CONFIG = '''
internal:
  "*":
file:
  "*":
    path: {folder}/events.jsonl
'''
PYTHON = '/usr/bin/python3'


def blocks(page):
    """The code blocks of a page, as [(language, text)]."""
    return BLOCK.findall((source_root() / page).read_text(encoding='utf-8'))


def block(page, language, having):
    texts = [text for name, text in blocks(page) if name == language and having in text]
    assert len(texts) == 1, f'{page} has {len(texts)} {language} blocks with {having!r}'
    return texts[0]


def run(arguments, folder, env, **options):
    result = subprocess.run([str(argument) for argument in arguments], cwd=folder, env=env, text=True,
                            capture_output=True, timeout=60, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def bare(environment):
    """The environment, for what is not an interpreter: nothing preloaded."""
    return {name: value for name, value in environment.items() if name != 'LD_PRELOAD'}


@pytest.fixture
def config(folder):
    path = folder / 'evbus.yaml'
    path.write_text(CONFIG.format(folder=folder), encoding='utf-8')
    return path


def test_example_in_c(folder, bare, config):
    event_id = run([build_root() / 'doc/examples/evbus-example-put', config], folder, bare).strip()
    events = read_events(folder / 'events.jsonl')
    assert [event['id'] for event in events] == [event_id]
    assert events[0]['routing_key'] == 'order.created'
    assert events[0]['body'] == {'id': 42}


def test_example_in_c_without_configuration(folder, bare):
    result = subprocess.run([build_root() / 'doc/examples/evbus-example-put', folder / 'none.yaml'],
                            env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert 'none.yaml' in result.stderr


def test_example_in_python(folder, environment):
    line = run([PYTHON, source_root() / 'doc/examples/put.py'], folder, environment)
    assert re.fullmatch(r'[0-9a-f-]{36} order\.created \{"id":42\}\n', line)


def test_example_in_python_over_dbus(folder, environment, evbusd, config):
    daemon = evbusd(config=config.read_text(encoding='utf-8'))
    event_id = run([PYTHON, source_root() / 'doc/examples/put-dbus.py'], folder, environment).strip()
    daemon.stop()
    assert [event['id'] for event in read_events(folder / 'events.jsonl')] == [event_id]


def test_example_in_shell(folder, bare, evbusd, config):
    daemon = evbusd(config=config.read_text(encoding='utf-8'))
    bare['PATH'] = f"{os.path.dirname(program('evbusctl'))}:{bare['PATH']}"
    output = run(['/bin/sh', source_root() / 'doc/examples/put.sh'], folder, bare)
    daemon.stop()
    ids = [event['id'] for event in read_events(folder / 'events.jsonl')]
    assert len(ids) == 2
    assert all(event_id in output for event_id in ids)


def test_first_steps_with_the_service(folder, bare, evbusd):
    page = 'doc/getting-started.md'
    daemon = evbusd(config=block(page, 'yaml', 'audit*').replace('/var/log/evbus', str(folder)))
    bare['PATH'] = f"{os.path.dirname(program('evbusctl'))}:{bare['PATH']}"
    with open(folder / 'seen', 'wb') as seen, open(folder / 'said', 'wb') as said:
        monitor = subprocess.Popen(['/bin/sh', '-c', 'exec ' + block(page, 'sh', 'evbusctl monitor')], env=bare,
                                   stdout=seen, stderr=said)
    try:
        wait_for(lambda: 'watching' in (folder / 'said').read_text(encoding='utf-8'), 'the start of the monitor')
        event_id = run(['/bin/sh', '-c', block(page, 'sh', 'evbusctl put')], folder, bare).split()[0]
        wait_for(lambda: 'user.login' in (folder / 'seen').read_text(encoding='utf-8'), 'the event in the monitor')
    finally:
        monitor.terminate()
        monitor.wait()
    daemon.stop()
    assert [event['id'] for event in read_events(folder / 'audit.jsonl')] == [event_id]


@pytest.mark.parametrize('page', ['README.md', 'doc/getting-started.md'])
def test_configurations_are_right(page, folder, evbusctl):
    texts = [text for language, text in blocks(page) if language == 'yaml']
    assert texts
    for text in texts:
        (folder / 'page.yaml').write_text(text.replace('/var/log/evbus', str(folder)), encoding='utf-8')
        result = evbusctl('check-config', str(folder / 'page.yaml'))
        assert result.returncode == 0, result.stdout + result.stderr


def test_plugin_in_python_of_the_guide(folder, bare):
    page = 'doc/writing-plugins.md'
    plugins = folder / 'plugins'
    plugins.mkdir()
    (plugins / 'journal.plugin').write_text(block(page, 'ini', 'Module=journal'), encoding='utf-8')
    (plugins / 'journal.py').write_text(block(page, 'python', 'class Journal'), encoding='utf-8')
    text = block(page, 'yaml', 'journal:').replace('/tmp/journal.txt', str(folder / 'journal.txt'))
    (folder / 'evbus.yaml').write_text(text, encoding='utf-8')
    bare['EVBUS_PLUGIN_PATH'] = f'{plugins}:{build_root()}/plugins'     # the build's, as it is not installed
    event_id = run([build_root() / 'doc/examples/evbus-example-put', folder / 'evbus.yaml'], folder, bare).strip()
    assert (folder / 'journal.txt').read_text(encoding='utf-8') == f'{event_id} order.created\n'


def test_serializer_in_python_of_the_guide(folder, evbusd, client):
    (folder / 'text.py').write_text(block('doc/writing-plugins.md', 'python', 'class Text'), encoding='utf-8')
    (folder / 'text.plugin').write_text(
        '[Plugin]\nModule=text\nLoader=python3\nName=text\n[Evbus]\nSerializer=text\n', encoding='utf-8')
    evbusd(config=f'evbus: {{serializer: text}}\n{CONFIG.format(folder=folder)}',
           env={'EVBUS_PLUGIN_PATH': f'{folder}:{build_root()}/plugins'})
    client.put('key', GLib.Variant('a{sv}', {'id': GLib.Variant('i', 42)}))
    client.wait_ledger(accepted=2, delivered=2)
    event = read_events(folder / 'events.jsonl')[0]
    assert event['content_type'] == 'text/x-gvariant'
    assert base64.b64decode(event['body_base64']) == b"{'id': <42>}"


def test_plugin_in_c_of_the_guide(folder, bare, evbusd, client):
    page = 'doc/writing-plugins.md'
    plugins = folder / 'plugins'
    plugins.mkdir()
    (plugins / 'nullsink.c').write_text(block(page, 'c', 'peas_register_types'), encoding='utf-8')
    (plugins / 'nullsink.plugin').write_text(
        '[Plugin]\nModule=nullsink\nName=nullsink\n[Evbus]\nProvider=nullsink\n', encoding='utf-8')
    flags = shlex.split(run(['pkg-config', '--cflags', '--libs', 'gio-2.0', 'libpeas-1.0'], folder, bare))
    run(['cc', '-shared', '-fPIC', '-Wall', '-Werror', '-o', 'libnullsink.so', 'nullsink.c',
         f'-I{source_root()}', f'-I{build_root()}', f'-L{build_root()}/evbus', '-levbus-1', *flags], plugins, bare)
    evbusd(config='nullsink: {"*": {}}', env={'EVBUS_PLUGIN_PATH': str(plugins)})
    client.put('key', GLib.Variant('i', 1))
    client.wait_ledger(accepted=1, delivered=1)
