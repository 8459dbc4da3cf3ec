# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the Python binding share."""

import time

import gi

gi.require_version('Evbus', '1')
from gi.repository import Evbus, GLib, GObject  # noqa: E402

DEADLINE = 30


def wait_until(what, condition, deadline=DEADLINE):
    """Iterates the default main context until the condition holds."""
    context = GLib.MainContext.default()
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f'{what} did not happen within {deadline} s'
        if not context.iteration(False):
            time.sleep(0.005)  # poll, with the deadline above
    return True


def stop(broker):
    """Stops the broker, and lets its routes deliver what they hold."""
    answers = []
    broker.stop_async(None, lambda source, result: answers.append(source.stop_finish(result)))
    wait_until('the stop', lambda: answers)
    assert answers == [True]


def ledger_of(owner):
    """The ledger of a broker or a route, as a dictionary; it always balances."""
    ledger = owner.get_ledger()
    assert ledger.balances()
    return ledger.to_variant().unpack()
