# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of HTTP share: servers that answer as they are told, and many routes to them."""

import json

import pytest
from gi.repository import GLib

from evbus_service import wait_for
from fake_http import Fake

QUICK = {'stop_timeout': '100ms'}
RETRY = {'retry': {'min': '20ms', 'max': '200ms'}}


@pytest.fixture
def fake():
    """fake(ANSWER) starts one; without one it answers 204."""
    servers = []

    def start(*answer):
        servers.append(Fake(*answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def letters(trial, n):
    """The reasons of the dead letters, when there are so many."""
    return [letter[3] for letter in wait_for(
        lambda: len(trial.dead_letters()) == n and trial.dead_letters(), f'{n} dead letters; {trial.dead_letters()}')]


def start_routes(evbusd, client, routes):
    """A route for each of these options; puts one event, which goes to all of them."""
    profiles = [{'default': {**options, 'delivery': {**RETRY, 'name': f'r{i}'}}} for i, options in enumerate(routes)]
    evbusd(json.dumps({'evbus': QUICK, 'http': profiles}))
    client.call('PutWithOptions', '(svsa{sv})', 'order.created', *put_arguments(b'{"a": 1}'))


def put_arguments(data):
    body = GLib.Variant.new_from_bytes(GLib.VariantType('ay'), GLib.Bytes(data), True)
    return body, 'default', {'content-type': GLib.Variant('s', 'application/json')}
