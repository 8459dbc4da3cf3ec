# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd and evbusctl under valgrind's memcheck (EVBUS_TEST_WRAPPER, which
meson.build sets): a life with a spool, from the start to SIGTERM. An error or a
leak is the exit status 99."""

import json
import signal

from gi.repository import GLib

from evbus_service import WRAPPER, read_events, wait_for


def test_a_life(evbusd, client, evbusctl, folder):
    assert 'memcheck' in ' '.join(WRAPPER)
    out = folder / 'out.jsonl'
    config = f"internal: {{'*': {{}}}}\nfile: {{'*': {{path: {out}}}}}\n"
    service = evbusd(config)
    subscription = client.subscribe()

    client.put('order.created', GLib.Variant('a{sv}', {'id': GLib.Variant('i', 1)}))
    client.call('PutNowait', '(svs)', 'order.created', GLib.Variant('s', 'two'), '')
    client.call('PutMany', '(a(svs))', [('order.created', GLib.Variant('i', n), '') for n in range(3, 51)])
    options = {'id': GLib.Variant('s', 'mine'), 'attributes': GLib.Variant('a{ss}', {'a': 'b'})}
    for _ in range(2):
        assert client.call('PutWithOptions', '(svsa{sv})', 'k', GLib.Variant('i', 51), '', options) == ('mine',)
    assert len(client.wait_events(51)) == 51
    client.call('Unsubscribe', '(t)', subscription)

    service.config.write_text(config + 'nonsense: [')
    assert evbusctl('reload').returncode != 0
    service.config.write_text(f"file: {{'*': {{path: {out}, sync: batch}}}}\n")
    assert evbusctl('reload').returncode == 0
    wait_for(lambda: len(client.routes()) == 1, 'one route')
    assert evbusctl('put', 'order.created', '{"id": 52}').returncode == 0
    wait_for(lambda: len(read_events(out)) == 52, '52 lines')

    status = evbusctl('status', '--json')
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)
    assert evbusctl('explain', 'default').returncode == 0
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
