# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusctl: the command line itself, and what it shows."""

import json
import os
import pty
import re
import signal
import subprocess

import pytest
from gi.repository import GLib

from evbus_service import assert_balanced, plugin_path, program, read_events, source_root, wait_for

COMMANDS = ('put', 'generate', 'monitor', 'status', 'routes', 'explain', 'reload', 'pause', 'resume', 'flush', 'test-route',
            'dead', 'forget', 'name-orphan', 'check-config', 'providers', 'help')

CONFIG = '''
internal: {default: {}}
file:
  default: {path: %s}
  audit*: {path: %s}
absent: {orders-*: {topics: [a]}}
'''


@pytest.fixture
def service(evbusd, folder):
    return evbusd(CONFIG % (folder / 'default', folder / 'audit'))


# ---- The command line ----

def test_version(evbusctl):
    result = evbusctl('--version')
    assert (result.returncode, result.stderr) == (0, '')
    assert re.match(r'evbusctl \d+\.\d+\.\d+\n$', result.stdout)


@pytest.mark.parametrize('arguments', [['--help'], ['-h'], ['help']])
def test_help_names_every_command(evbusctl, arguments):
    result = evbusctl(*arguments)
    assert (result.returncode, result.stderr) == (0, '')
    for command in COMMANDS:
        assert re.search(rf'^  {command} +\w', result.stdout, re.MULTILINE)
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_a_command(evbusctl, command):
    result = evbusctl(command, '--help')
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.startswith(f'Usage: evbusctl {command} [OPTION...]')
    assert '--help' in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 88
    assert evbusctl('--help', command).stdout == result.stdout
    assert evbusctl('help', command).stdout == result.stdout


@pytest.mark.parametrize('arguments, message', [
    ([], 'a command is missing'),
    (['statsu'], "unknown command 'statsu'; did you mean 'status'?"),
    (['mon'], "unknown command 'mon'; did you mean 'monitor'?"),
    (['check'], "unknown command 'check'; did you mean 'check-config'?"),
    (['show-everything'], "unknown command 'show-everything'; 'evbusctl help' lists them"),
    (['x' * 5000], "'evbusctl help' lists them"),
    ([''], "unknown command ''; 'evbusctl help' lists them"),
    (['help', 'stauts'], "did you mean 'status'?"),
    (['--nonsense', 'status'], 'Unknown option --nonsense'),
    (['status', '--nonsense'], 'status: Unknown option --nonsense'),
    (['put', 'k'], 'put: an argument is missing'),
    (['put', 'k', '1', '2'], "put: unexpected argument '2'"),
    (['status', 'x'], "status: unexpected argument 'x'"),
    (['explain'], 'explain: an argument is missing'),
    (['check-config'], 'check-config: an argument is missing'),
    (['check-config', '--session', 'x'], 'check-config: Unknown option --session'),
    (['--session', '--system', 'status'], '--session, --system and --address exclude each other'),
    (['status', '--system', '--address', 'unix:path=/x'], 'exclude each other'),
    (['--address', 'nonsense', 'status'], '--address: not a D-Bus address'),
    (['--timeout', '0', 'status'], '--timeout: a number of seconds'),
    (['--timeout', 'x', 'status'], 'Cannot parse integer value'),
    (['put', '--profile'], 'put: Missing argument for --profile'),
])
def test_a_wrong_command_line(evbusctl, arguments, message):
    result = evbusctl(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith('evbusctl: ')
    assert message in result.stderr
    assert result.stdout == ''


def test_options_stand_before_or_after_the_command(service, evbusctl):
    wait_for(lambda: 'opening' not in evbusctl('routes').stdout, 'the routes to open')
    assert evbusctl('--session', '--timeout', '5', 'routes').stdout == evbusctl('routes', '--session').stdout != ''


# ---- status, routes, explain, reload ----

def test_status_is_a_table(service, evbusctl):
    assert evbusctl('put', 'k', '1').returncode == 0
    assert evbusctl('put', '-p', 'audit.login', 'k', '1').returncode == 0
    assert evbusctl('put', '-p', 'nobody', 'k', '1').returncode == 0
    wait_for(lambda: json.loads(evbusctl('status', '--json').stdout)['ledger']['delivered'] == 3, 'three deliveries')
    result = evbusctl('status')
    assert (result.returncode, result.stderr) == (0, '')
    lines = result.stdout.splitlines()
    assert re.match(r'evbusd \d+\.\d+\.\d+ on the session bus, up \d+ s$', lines[0])
    assert lines[1] == f'configuration: {service.config}'
    assert lines[2] == 'spool: intact'
    assert lines[3] == 'accepted 3 = delivered 3 + queued 0 + dead 0 + expired 0 + dropped 0'
    assert lines[4] == 'unrouted 1, repeated 0, retried 0, duplicates 0'
    assert lines[6].split() == 'PROVIDER PROFILE STATE ACCEPTED DELIVERED QUEUED DEAD EXPIRED DROPPED'.split()
    assert [line.split() for line in lines[7:11]] == [
        'internal default running 1 1 0 0 0 0'.split(),
        'file default running 1 1 0 0 0 0'.split(),
        'file audit* running 1 1 0 0 0 0'.split(),
        'absent orders-* failed 0 0 0 0 0 0'.split(),
    ]
    assert "the provider 'absent' (Never installed) is known, but its plugin is not installed" in lines[11]
    assert not re.search(r'[ \x1b]$|\x1b', result.stdout, re.MULTILINE)


def test_status_shows_what_stands_beside_the_balance(evbusd, client, evbusctl):
    evbusd('sink: {default: {mode: fail-first, count: 2, delivery: {retry: {min: 1ms, max: 1ms}}}}')
    client.put('k', GLib.Variant('i', 1))
    client.wait_ledger(delivered=1)
    status = json.loads(evbusctl('status', '--json').stdout)
    for ledger in (status['ledger'], status['routes'][0]['ledger']):
        assert set(assert_balanced(ledger)) == {'accepted', 'delivered', 'dead', 'expired', 'dropped', 'queued', 'retried',
                                                'duplicates', 'unrouted', 'repeated'}
        assert ledger['retried'] == 2
    duplicates, repeated = status['ledger']['duplicates'], status['ledger']['repeated']
    assert status['routes'][0]['queued-bytes'] == 0
    lines = evbusctl('status').stdout.splitlines()
    assert lines[4] == f'unrouted 0, repeated {repeated}, retried 2, duplicates {duplicates}'
    assert lines[8].strip() == f'retried 2, duplicates {duplicates}'


def test_status_as_json_balances(service, evbusctl):
    for n in range(20):
        assert evbusctl('put', 'k', str(n)).returncode == 0
    status = json.loads(evbusctl('status', '--json').stdout)
    assert status['configuration'] == str(service.config)
    assert 0 < status['uptime_us'] < 1e9
    assert_balanced(status['ledger'])
    assert status['ledger']['accepted'] == 40
    assert status['ledger']['unrouted'] == 0
    assert [(route['provider'], route['profile'], route['state']) for route in status['routes']] == [
        ('internal', 'default', 'running'), ('file', 'default', 'running'), ('file', 'audit*', 'running'),
        ('absent', 'orders-*', 'failed')]
    for route in status['routes']:
        assert_balanced(route['ledger'])
    assert status['routes'][3]['reason'] != ''
    assert json.loads(evbusctl('routes', '--json').stdout)[3] == status['routes'][3]


def test_routes_shows_state_and_reason(service, client, evbusctl):
    client.wait_running(3)
    lines = evbusctl('routes').stdout.splitlines()
    assert lines[0].split() == ['PROVIDER', 'PROFILE', 'STATE', 'REASON']
    assert lines[1].split() == ['internal', 'default', 'running']
    assert re.match(r"absent +orders-\* +failed +the provider 'absent' \(Never installed\) is known", lines[4])


def test_explain_shows_where_an_event_goes(service, evbusctl):
    lines = evbusctl('explain', 'audit.login').stdout.splitlines()
    assert lines[0].split() == ['PROVIDER', 'PROFILE', 'GOES', 'THERE', 'WHY']
    assert [line.split()[2] for line in lines[1:]] == ['no', 'no', 'yes', 'no']
    explanation = json.loads(evbusctl('explain', '--json', 'audit.login').stdout)
    assert [(route['provider'], route['profile'], route['matches']) for route in explanation] == [
        ('internal', 'default', False), ('file', 'default', False), ('file', 'audit*', True),
        ('absent', 'orders-*', False)]
    assert all(route['reason'] for route in explanation)
    assert "No route takes events of the profile 'nobody': they are unrouted." in evbusctl('explain', 'nobody').stdout


def test_explain_refuses_what_is_no_profile(service, evbusctl):
    result = evbusctl('explain', b'\xff')
    assert (result.returncode, result.stderr) == (1, 'evbusctl: the profile is not UTF-8\n')


def test_reload_takes_the_new_configuration_or_says_what_is_wrong(service, evbusctl, folder):
    service.config.write_text(f'file: {{new: {{path: {folder}/new}}}}')
    result = evbusctl('reload')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    assert [route['profile'] for route in json.loads(evbusctl('routes', '--json').stdout)] == ['new']

    service.config.write_text('file: {a: {pth: x}}\nfiel: {b: {}}\n')
    result = evbusctl('reload')
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == 'evbusctl: the configuration has mistakes; nothing was changed'
    assert any(line.startswith(f'{service.config}:1:12: ') and "did you mean 'path'?" in line for line in lines)
    assert any(line.startswith(f'{service.config}:2:1: ') and "did you mean 'file'?" in line for line in lines)
    assert [route['profile'] for route in json.loads(evbusctl('routes', '--json').stdout)] == ['new']


# ---- Without a service ----

@pytest.mark.parametrize('text, status, message', [
    ('internal: {default: {}}', 0, ''),
    ('{"internal": {"default": {}, "b": {}}}', 0, ''),
    ('internal: {default: {max_evnts: 5}}\nfil: {x: {}}', 1, ":1:22: internal profile 'default': unknown key 'max_evnts'"),
    ('internal: {default: {max_evnts: 5}}\nfil: {x: {}}', 1, ":2:1: unknown provider 'fil'; did you mean 'file'?"),
    ('internal: {default: {max_events: many}}', 1, ':1:'),
    ('internal: [', 1, ':1:'),
    ('', 1, ''),
    ('file: {a: {path: ""}}', 1, ":1:18: file profile 'a': 'path' must not be empty: The file;"),
    ('{}', 1, ':1:1: names no route; '),
    ('internal: {}', 1, ':1:1: names no route; '),
    ('absent: {default: {topic: a}}', 3, "the provider 'absent' (Never installed) is known, but its plugin is not installed"),
    ('gone:\n- orders-*: {connection: {host: localhost}}', 3, ":2:3: gone profile 'orders-*': the provider 'absent' (gone: Never"),
    ('away: {default: {}}', 3, "the provider 'absent' (away: Never"),
    ('away: {default: }\nabsent: {default: }\ngone: {default: }', 3, ":3:8: gone profile 'default': the provider 'absent'"),
    ('absnet: {default: {}}', 1, ":1:1: unknown provider 'absnet'; did you mean 'absent'?"),
    ('carrier-pigeon: {default: {}}', 3, "there is no plugin for the provider 'carrier-pigeon'"),
    ('absent: {default: {}}\ninternal: {default: {x: 1}}', 1, "unknown key 'x'"),
])
def test_check_config(evbusctl, folder, text, status, message):
    (folder / 'p.yaml').write_text(text)
    result = evbusctl('check-config', 'p.yaml')
    assert result.returncode == status, result.stderr
    assert message in result.stderr
    if status == 0:
        assert re.match(r'p.yaml: \d routes?, no mistakes\n$', result.stdout)
    else:
        assert result.stdout == ''
        for line in result.stderr.splitlines():
            assert re.match(r'p\.yaml:\d+:\d+: \S', line) or text == ''


@pytest.mark.parametrize('argument, name', [('-', '<stdin>'), ('/dev/stdin', '/dev/stdin')])
def test_check_config_of_a_pipe(evbusctl, argument, name):
    result = evbusctl('check-config', argument, input='internal: {default: {}}')
    assert (result.returncode, result.stdout, result.stderr) == (0, f'{name}: 1 route, no mistakes\n', '')
    result = evbusctl('check-config', argument, input='internal: {default: {x: 1}}')
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr.startswith(f"{name}:1:22: internal profile 'default': unknown key 'x'")
    result = evbusctl('check-config', argument, input='')
    assert (result.returncode, result.stdout) == (1, '') and result.stderr.startswith(f'{name}:1:1: ')


def test_check_config_of_a_pipe_without_an_end(evbusctl):
    result = evbusctl('check-config', '/dev/zero')
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr.startswith('/dev/zero') and 'larger than 4194304 bytes' in result.stderr


def test_check_config_of_what_cannot_be_read(evbusctl):
    result = evbusctl('check-config', 'missing.yaml')
    assert result.returncode == 1
    assert 'missing.yaml' in result.stderr and 'No such file or directory' in result.stderr


def test_check_config_warns_of_a_secret_in_the_file_and_does_not_show_it(evbusctl, folder, environment):
    (folder / 'plugins').mkdir()
    (folder / 'plugins' / 'safe.plugin').write_text(
        '[Plugin]\nModule=safe\nName=safe\n[Evbus]\nProvider=safe\n[Option password]\nType=string\nSecret=true\n')
    (folder / 'p.yaml').write_text('safe: {default: {password: hunter2}}')
    result = evbusctl('check-config', 'p.yaml', env={'EVBUS_PLUGIN_PATH': f'{folder}/plugins'})
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith('p.yaml:1:')
    assert 'hunter2' not in result.stderr + result.stdout


def test_a_broken_plugin_is_told_in_a_line_of_evbusctls_own(evbusctl, folder):
    (folder / 'broken.plugin').write_text('[Plugin\n')
    (folder / 'p.yaml').write_text('internal: {default: }')
    result = evbusctl('check-config', 'p.yaml', env={'EVBUS_PLUGIN_PATH': f'{folder}:{plugin_path()}'})
    assert result.returncode == 0
    assert re.fullmatch(r'evbusctl: \S+/broken\.plugin: .*; the plugin is left out\n', result.stderr)


def test_providers_lists_what_is_installed(evbusctl):
    result = evbusctl('providers')
    assert (result.returncode, result.stderr) == (0, '')
    lines = result.stdout.splitlines()
    assert lines[0].split() == ['NAME', 'ALIASES', 'DESCRIPTION']
    assert {'file', 'internal'} <= {line.split()[0] for line in lines[1:]}


def test_providers_shows_the_options_of_one(evbusctl):
    result = evbusctl('providers', 'file')
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.startswith('file: ')
    assert re.search(r'^OPTION +TYPE +DEFAULT +RANGE +MEANING$', result.stdout, re.MULTILINE)
    assert re.search(r'^path +string +required +\w', result.stdout, re.MULTILINE)
    assert re.search(r'^sync +string +never +one of never, batch +\w', result.stdout, re.MULTILINE)
    assert re.search(r'^keep +integer +7 +between 1 and 9999 +\w', result.stdout, re.MULTILINE)
    assert '\nExample:\n  file:\n' in result.stdout


def test_the_example_of_each_provider_is_right(evbusctl, folder):
    for line in evbusctl('providers').stdout.splitlines()[1:]:
        example = evbusctl('providers', line.split()[0]).stdout.split('\nExample:\n')
        if len(example) == 2:
            (folder / 'p.yaml').write_text(example[1])
            result = evbusctl('check-config', 'p.yaml')
            assert result.returncode == 0, (line, result.stderr)


def test_the_page_of_each_provider_has_its_options(evbusctl):
    """What `evbusctl providers --markdown NAME` prints stands in plugins/*/README.md."""
    names = {plugin: re.findall(r'^Provider=(.*)$', plugin.read_text(), re.MULTILINE)
             for plugin in source_root().glob('plugins/*/*.plugin')}
    assert ['file'] in names.values()
    for plugin, name in names.items():
        result = evbusctl('providers', '--markdown', *name)
        # One whose client library is missing is left out of the build.
        if result.returncode == 0:
            assert result.stdout in (plugin.parent / 'README.md').read_text(), f'{plugin.parent}/README.md needs:\n{result.stdout}'
            assert f'(plugins/{plugin.parent.name}/README.md)' in (source_root() / 'README.md').read_text()
    assert evbusctl('providers', '--markdown').returncode == 2


def test_a_source_that_makes_no_cloud_events(evbusctl, folder):
    """In whichever provider has the option."""
    names = [plugin.parent.name for plugin in source_root().glob('plugins/*/*.plugin')
             if '[Option cloudevents_source]' in plugin.read_text()]
    assert len(names) == 6
    for name in names:
        # One whose client library is missing is left out of the build.
        if evbusctl('providers', '--markdown', name).returncode != 0:
            continue
        (folder / 'p.yaml').write_text(f"{name}: {{default: {{cloudevents_source: ''}}}}")
        result = evbusctl('check-config', 'p.yaml')
        assert result.returncode == 1, name
        assert "'cloudevents_source' must be a URI or a reference to one" in result.stderr


@pytest.mark.parametrize('name, keys, typo', [
    ('kafka', {'bootstrap_servers': 'localhost:9092', 'enable_idempotence': True, 'metadata_max_age_ms': 300000,
               'transaction_timeout_ms': 60000, 'sasl_kerberos_domain_name': 'kafka1.example'}, 'enable_idempotense'),
    ('pika', {'host': 'localhost', 'timeout': 5, 'reconnect_interval': 1.5, 'fail_fast': True, 'name': 'orders'}, 'tiemout'),
    ('kafka', {'bootstrap_servers': 'localhost:9092', 'api_version': [2, 6, 0]}, 'api_versoin'),
])
def test_what_clients_of_pop_evbus_take_and_changes_nothing(evbusctl, folder, name, keys, typo):
    """Ignored, each with a warning that says why; a mistake is still one."""
    if evbusctl('providers', '--markdown', name).returncode != 0:
        return
    (folder / 'p.yaml').write_text(json.dumps({name: {'default': {'connection': keys}}}))
    result = evbusctl('check-config', 'p.yaml')
    assert result.returncode == 0, result.stderr
    told = re.findall(r"^p.yaml:1:\d+: \w+ profile 'default': 'connection.(\w+)': Ignored, since .", result.stderr, re.MULTILINE)
    assert told == list(keys)[1:], result.stderr
    # It names what to set instead.
    assert 'timeout' not in keys or "'connection.timeout': Ignored, since the profile's own 'timeout'" in result.stderr
    (folder / 'p.yaml').write_text(json.dumps({name: {'default': {'connection': {**keys, typo: 1}}}}))
    result = evbusctl('check-config', 'p.yaml')
    assert result.returncode == 1
    assert f"unknown key 'connection.{typo}'; did you mean" in result.stderr


@pytest.mark.parametrize('name, options', [
    ('amqp', {'timeout': '10s'}), ('http', {'url': 'http://localhost', 'timeout': '10s', 'connect_timeout': '10s'}),
    ('mqtt', {'connect_timeout': '10s'}), ('nats', {'connect_timeout': '10s'}),
    ('redis', {'connect_timeout': '10s', 'timeout': '10s'}),
])
def test_a_timeout_that_is_never_reached(evbusctl, folder, name, options):
    if evbusctl('providers', '--markdown', name).returncode != 0:
        return
    timeouts = [key for key, value in options.items() if value == '10s']
    for limit, warned in ('9s', timeouts), ('10s', []):
        (folder / 'p.yaml').write_text(json.dumps({name: {'default': {**options, 'delivery': {'timeout': limit}}}}))
        result = evbusctl('check-config', 'p.yaml')
        assert result.returncode == 0, result.stderr
        told = re.findall(r"'(\w+)' \(10s\) is never reached, since 'delivery.timeout' \(9s\) ends it; raise that", result.stderr)
        assert told == warned, result.stderr


def test_what_a_client_of_pop_evbus_takes_and_cannot_be_had(evbusctl, folder):
    if evbusctl('providers', '--markdown', 'kafka').returncode != 0:
        return
    (folder / 'p.yaml').write_text(json.dumps({'kafka': {'default': {'connection': {'transactional_id': 'x'}}}}))
    result = evbusctl('check-config', 'p.yaml')
    assert result.returncode == 1
    assert "p.yaml:1:39: kafka profile 'default': 'connection.transactional_id': Refused, since there are no transactions; leave it out" in result.stderr


def test_an_unknown_provider(evbusctl, environment, folder):
    result = evbusctl('providers', 'fiel')
    assert result.returncode == 1
    assert "unknown provider 'fiel'; did you mean 'file'?" in result.stderr


# ---- pause, resume and flush ----

def test_a_route_is_paused_and_resumed(service, evbusctl, folder):
    assert evbusctl('pause', "file 'default'").stdout == '1 route paused\n'
    wait_for(lambda: re.search(r'^file +default +paused ', evbusctl('routes').stdout, re.MULTILINE), 'the pause')
    assert evbusctl('put', 'k', '1').returncode == 0
    assert evbusctl('flush').stdout == '4 routes told to try now\n'
    assert read_events(folder / 'default') == []
    assert evbusctl('resume').stdout == '4 routes resumed\n'
    wait_for(lambda: len(read_events(folder / 'default')) == 1, 'the event')
    assert_balanced(json.loads(evbusctl('status', '--json').stdout)['ledger'])


@pytest.mark.parametrize('command', ['pause', 'resume', 'flush'])
def test_a_route_that_is_not_there(service, evbusctl, command):
    result = evbusctl(command, 'default')
    assert (result.returncode, result.stdout) == (1, '')
    assert 'no route is called "default"' in result.stderr and "PROVIDER 'PATTERN'" in result.stderr
    assert evbusctl(command, b'\xff').returncode == 1


# ---- monitor ----

def watch(environment, *arguments, **keywords):
    keywords = {'stdout': subprocess.PIPE, **keywords}
    process = subprocess.Popen([program('evbusctl'), 'monitor', *arguments], env=environment, text=True,
                               stderr=subprocess.PIPE, **keywords)
    assert process.stderr.readline() == 'evbusctl: watching; Ctrl-C ends\n'
    return process


def test_monitor_shows_the_events_whose_key_matches(service, evbusctl, environment):
    process = watch(environment, 'order.*')
    assert evbusctl('put', 'user.login', '1').returncode == 0
    assert evbusctl('put', 'order.created', '{"id": 42, "none": null}').returncode == 0
    # A line comes at once, not when a buffer is full.
    line = process.stdout.readline()
    assert re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  order.created  default  {"id":42,"none":null}\n$', line)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, '', '')
    assert_balanced(json.loads(evbusctl('status', '--json').stdout)['ledger'])


def test_monitor_writes_the_lines_of_the_file_route(service, evbusctl, environment, folder):
    bodies = ['{"a":null,"b":[1,2.5,-3,18446744073709551615]}', '"x"', '[]', '{"a":1,"A":{}}', '"\\u0000"']
    process = watch(environment, '--json')
    assert evbusctl('put', 'k', '-', input='\n'.join(bodies)).returncode == 0
    assert evbusctl('put', '-g', 'k', "{'b': <b'bytes'>}").returncode == 0
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    wait_for(lambda: len(read_events(folder / 'default')) == 6, 'six events')
    assert ''.join(lines) == (folder / 'default').read_text()
    assert_balanced(json.loads(evbusctl('status', '--json').stdout)['ledger'])


def test_monitor_of_a_profile(evbusd, evbusctl, environment):
    evbusd('internal: {default: {}, audit*: {}}')
    process = watch(environment, '--json', '--profile', 'audit*')
    assert evbusctl('put', 'k', '1').returncode == 0
    assert evbusctl('put', '-p', 'audit.x', 'k', '2').returncode == 0
    assert json.loads(process.stdout.readline())['body'] == 2
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize('arguments', [['p' * 256], [b'\xff'], ['--profile', b'\xff']])
def test_monitor_refuses_a_pattern(service, evbusctl, arguments):
    result = evbusctl('monitor', *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith('evbusctl: ')


def test_monitor_ends_quietly_when_its_reader_goes_away(service, evbusctl, environment):
    read_end, write_end = os.pipe()
    process = watch(environment, stdout=write_end)
    os.close(write_end)
    os.close(read_end)
    # No event is needed for it to notice.
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, '')


def test_monitor_without_an_internal_route_says_that_it_shows_nothing(evbusd, evbusctl, environment, folder):
    service = evbusd(f'file: {{"internal": {{path: {folder}/events}}}}')
    process = watch(environment)
    hint = [process.stderr.readline() for _ in range(3)]
    assert hint[0].startswith("evbusctl: there is no route of the provider 'internal'")
    assert hint[1].endswith("run 'evbusctl reload':\n")

    # What it says to do is right, and it goes on watching.
    service.config.write_text(hint[2].strip())
    assert evbusctl('reload').returncode == 0
    assert evbusctl('put', 'k', '1').returncode == 0
    assert process.stdout.readline().endswith('  k  default  1\n')
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, '')


def test_monitor_says_when_the_service_leaves(service, environment):
    process = watch(environment)
    service.stop()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == 'evbusctl: evbusd left the bus\n'


# ---- Terminals ----

def terminal_output(arguments, environment, columns):
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([program('evbusctl'), *arguments], stdout=slave, env=environment)
    os.close(slave)
    text = b''
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:     # EIO: the other end is closed
            break
        text += data
    os.close(master)
    assert process.wait() == 0
    return text.decode()


def test_colours_are_for_terminals_that_want_them(service, environment, evbusctl):
    wait_for(lambda: evbusctl('routes').stdout.count('running') == 3, 'the routes to open')
    environment['TERM'] = 'xterm'
    environment.pop('NO_COLOR', None)
    assert '\x1b[32mrunning\x1b[0m' in terminal_output(['routes'], environment, 200)
    assert '\x1b' not in terminal_output(['routes'], {**environment, 'NO_COLOR': '1'}, 200)
    assert '\x1b' not in terminal_output(['routes'], {**environment, 'TERM': 'dumb'}, 200)


@pytest.mark.parametrize('columns', [80, 100, 10])
def test_tables_fit_the_terminal(service, environment, columns):
    environment['TERM'] = 'dumb'
    text = terminal_output(['status'], environment, columns)
    table = text[text.index('PROVIDER'):].split('\r\n')
    words = ' '.join(text.split())
    assert "the provider 'absent' (Never installed) is known, but its plugin is not installed" in words
    if columns >= 80:
        for line in table:
            assert len(line) <= columns or ' ' not in line.strip()


# ---- Completion and manual page ----

def complete(environment, *words):
    """What bash offers for the last of the words."""
    script = '''
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_evbusctl; printf '%s\\n' "${COMPREPLY[@]}"
'''
    result = subprocess.run(['bash', '-c', script, 'bash', str(source_root() / 'data/completions/evbusctl'),
                             program('evbusctl'), *words], env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ''
    return result.stdout.split('\n')[:-1] if result.stdout.strip() else []


def options_of(text):
    return set(re.findall(r'^  (?:-\w, )?(--[a-z-]+)', text, re.MULTILINE))


def test_completion_knows_every_command(environment, evbusctl):
    assert set(complete(environment, '')) == set(COMMANDS)
    assert complete(environment, 'mon') == ['monitor']
    assert complete(environment, '--system', 'st') == ['status']
    assert set(complete(environment, 'help', '')) == set(COMMANDS)
    assert options_of(evbusctl('--help').stdout) == {word for word in complete(environment, '-')}


@pytest.mark.parametrize('command', COMMANDS)
def test_completion_knows_every_option(environment, evbusctl, command):
    assert set(complete(environment, command, '--')) == options_of(evbusctl(command, '--help').stdout)


def test_completion_of_arguments(environment, folder):
    environment['PWD'] = str(folder)
    assert {'file', 'internal'} <= set(complete(environment, 'providers', ''))
    assert complete(environment, 'providers', 'fi') == ['file']
    assert complete(environment, 'providers', 'file', '') == []
    (folder / 'my-config.yaml').touch()
    assert complete(environment, 'check-config', f'{folder}/my-c') == [f'{folder}/my-config.yaml']
    assert complete(environment, 'put', 'key', f'@{folder}/my-c') == [f'@{folder}/my-config.yaml']
    assert complete(environment, 'put', '--profile', '') == []
    assert complete(environment, 'put', '--profile', 'p', 'key', f'@{folder}/my-c') == [f'@{folder}/my-config.yaml']


def test_the_manual_page_has_every_command_and_option(evbusctl):
    page = (source_root() / 'doc/man/evbusctl.1').read_text().replace('\\', '')
    for command in COMMANDS:
        assert re.search(rf'^(\.B|\.BI|fB{command}fR|).*{command}', page, re.MULTILINE), command
        for option in options_of(evbusctl(command, '--help').stdout):
            assert option in page, option
