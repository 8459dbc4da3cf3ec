# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbus loads this before the first plugin in Python. An exception in one becomes the reason of its
route, and its traceback a message in the log, in which no text of a client makes a line of its own."""

import functools
import os
import sys
import threading
import traceback
import types

from gi.repository import Evbus, GLib

CALLS = ('do_open', 'do_publish', 'do_close')
MAX_TEXT = 1000      # characters of an exception, which may quote a whole event
MAX_FRAMES = 20


def describe(error):
    """The exception on one line that can be printed."""
    text = traceback.format_exception_only(type(error), error)[-1].removesuffix('\n')
    text = ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text[:MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + '…'


def log(what, frames, text, **fields):
    lines = ''.join(traceback.format_list(frames[-MAX_FRAMES:]))
    fields['MESSAGE'] = f'{what}:\n{lines}{text}'
    GLib.log_variant('evbus-python', GLib.LogLevelFlags.LEVEL_WARNING,
                     GLib.Variant('a{sv}', {name: GLib.Variant('s', value) for name, value in fields.items()}))


def make_error(ingress, ctx, name, error):
    """The GLib.Error of an exception; its traceback is logged, though not at each retry."""
    frames = traceback.extract_tb(error.__traceback__.tb_next)
    text = describe(error)
    place = f' (line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)})' if frames else ''
    route = f"{ctx.get_provider()} '{ctx.get_profile()}'"
    if getattr(ingress, 'evbus_told', None) != (name, text):
        ingress.evbus_told = name, text
        log(f'route {route}: an exception in {name}()', frames, text, EVBUS_ROUTE=route)
    return GLib.Error(f'a fault of the plugin: {text}{place}', 'evbus-error-quark', Evbus.Error.TRANSIENT)


def guard(call):
    @functools.wraps(call)
    def guarded(self, ctx, *arguments):
        try:
            result = call(self, ctx, *arguments)
        except GLib.Error:
            raise
        except BaseException as error:     # PyErr_Print() would end the process at a SystemExit
            raise make_error(self, ctx, call.__name__, error) from None
        self.evbus_told = None
        return result
    return guarded


def init_subclass(cls, **keywords):
    super(Evbus.Ingress, cls).__init_subclass__(**keywords)
    for name in CALLS:
        call = getattr(cls, name, None)
        if isinstance(call, types.FunctionType) and call.__globals__ is not globals():
            setattr(cls, name, guard(call))


def log_uncaught(what, kind, error, place):
    log(what, traceback.extract_tb(place), describe(error if error is not None else kind()))


# The calls become virtual functions once their class is there, which is after this.
Evbus.Ingress.__init_subclass__ = classmethod(init_subclass)

# What else a plugin runs: sources, threads, finalizers. In a program that is itself in Python
# these are the program's.
if not sys.orig_argv:
    sys.excepthook = functools.partial(log_uncaught, 'an exception of a plugin')
    threading.excepthook = lambda args: log_uncaught(
        'an exception in a thread of a plugin', args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: log_uncaught(
        args.err_msg or 'an exception that was ignored', args.exc_type, args.exc_value, args.exc_traceback)
