# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ingress of one's own, in Python, found through EVBUS_PLUGIN_PATH."""

import os
import textwrap

import pytest

from support import Evbus, GLib, ledger_of, stop, wait_until

PLUGIN = '''
[Plugin]
Module=collector
Loader=python3
Name=Collector
Description=Writes what it gets to a file

[Evbus]
Provider=collector

[Option path]
Type=string
Required=true
Help=The file to append to

[Option fault]
Type=string
Choices=none;raise;transient;poison;silent;
Default=none
Help=What to do wrong with the first event
'''

MODULE = '''
from gi.repository import Evbus, GLib, GObject


class Collector(GObject.Object, Evbus.Ingress):
    def do_open(self, ctx, cancellable):
        self.fault = ctx.get_string('fault')
        self.file = open(ctx.get_string('path'), 'a')
        return True

    def do_publish(self, ctx, batch, cancellable):
        fault, self.fault = self.fault, 'none'
        if fault == 'raise':
            raise RuntimeError('a mistake in the plugin')
        if fault == 'transient':
            raise GLib.Error.new_literal(Evbus.error_quark(), 'come again', Evbus.Error.TRANSIENT)
        if fault == 'silent':
            return True
        for index in range(batch.get_n_events()):
            event = batch.get_event(index)
            if fault == 'poison' and index == 0:
                batch.fail(index, Evbus.Outcome.POISON, 'not this one')
                continue
            print(event.get_id(), file=self.file)
            batch.confirm(index)
        self.file.flush()
        return True

    def do_close(self, ctx):
        self.file.close()
        return True
'''


@pytest.fixture(scope='module', autouse=True)
def plugin_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('plugins')
    (folder / 'collector.plugin').write_text(textwrap.dedent(PLUGIN), encoding='utf-8')
    (folder / 'collector.py').write_text(MODULE, encoding='utf-8')
    os.environ['EVBUS_PLUGIN_PATH'] = f"{folder}:{os.environ['EVBUS_PLUGIN_PATH']}"


def deliver(tmp_path, fault, count=5):
    """Puts some events into a broker with the plugin; returns their ids, the ids
    that it wrote, and the ledger at the end."""
    path = tmp_path / 'out'
    broker = Evbus.Broker()
    route = broker.add_route('collector', '*', GLib.Variant('a{sv}', {
        'path': GLib.Variant('s', str(path)), 'fault': GLib.Variant('s', fault)}))
    broker.start()
    ids = [broker.put_nowait('key', GLib.Variant('i', n), None) for n in range(count)]
    wait_until('the delivery', lambda: ledger_of(route)['queued'] == 0)
    stop(broker)
    ledger = ledger_of(route)
    assert ledger['accepted'] == count
    return ids, path.read_text(encoding='utf-8').split(), ledger


def test_ingress_in_python(tmp_path):
    ids, written, ledger = deliver(tmp_path, 'none')
    assert written == ids
    assert ledger['delivered'] == 5


@pytest.mark.parametrize('fault', ['raise', 'transient', 'silent'])
def test_fault_of_the_plugin_is_retried(tmp_path, fault):
    ids, written, ledger = deliver(tmp_path, fault)
    assert sorted(written) == sorted(ids)
    assert ledger['delivered'] == 5
    assert ledger['retried'] >= 1


def test_poison_is_dead(tmp_path):
    ids, written, ledger = deliver(tmp_path, 'poison', count=1)
    assert written == []
    assert ledger['dead'] == 1


def test_wrong_option_is_refused(tmp_path):
    broker = Evbus.Broker()
    with pytest.raises(GLib.Error) as refused:
        broker.add_route('collector', '*', GLib.Variant('a{sv}', {'fault': GLib.Variant('s', 'nose')}))
    assert refused.value.matches(Evbus.error_quark(), Evbus.Error.INVALID_CONFIG)
    stop(broker)
