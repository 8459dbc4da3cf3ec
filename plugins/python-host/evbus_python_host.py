# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbus loads this before the first plugin in Python. An exception in one becomes the reason of its
route, and its traceback a message in the log, in which no text of a client makes a line of its own."""

import builtins
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


def frames_of(place):
    return [frame for frame in traceback.extract_tb(place) if frame.filename != __file__]


def name_fault(text, frames):
    place = f' (line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)})' if frames else ''
    return f'a fault of the plugin: {text}{place}'


def make_error(ingress, ctx, name, error):
    """The GLib.Error of an exception; its traceback is logged, though not at each retry."""
    frames = frames_of(error.__traceback__)
    text = describe(error)
    route = f"{ctx.get_provider()} '{ctx.get_profile()}'"
    if getattr(ingress, 'evbus_told', None) != (name, text):
        ingress.evbus_told = name, text
        log(f'route {route}: an exception in {name}()', frames, text, EVBUS_ROUTE=route)
    return GLib.Error(name_fault(text, frames), 'evbus-error-quark', Evbus.Error.TRANSIENT)


def guard(call):
    @functools.wraps(call)
    def guarded(self, ctx, *arguments):
        if hasattr(self, 'evbus_unmade'):
            raise GLib.Error(self.evbus_unmade, 'evbus-error-quark', Evbus.Error.PLUGIN)
        try:
            result = call(self, ctx, *arguments)
        except GLib.Error:
            raise
        except BaseException as error:     # PyErr_Print() would end the process at a SystemExit
            raise make_error(self, ctx, call.__name__, error) from None
        self.evbus_told = None
        return result
    return guarded


def guard_init(init):
    """GObject makes the object all the same: its do_open() tells what went wrong."""
    @functools.wraps(init)
    def guarded(self, *arguments, **keywords):
        try:
            init(self, *arguments, **keywords)
        except BaseException as error:
            self.evbus_unmade = name_fault(describe(error), frames_of(error.__traceback__))
            if isinstance(error, Exception):
                raise
            raise RuntimeError(describe(error)).with_traceback(error.__traceback__) from None     # as in guard()
    return guarded


def open_nothing(_self, _ctx, _cancellable):
    return True


def is_own(call):
    return isinstance(call, types.FunctionType) and call.__globals__ is not globals()


def init_subclass(cls, **keywords):
    super(Evbus.Ingress, cls).__init_subclass__(**keywords)
    if is_own(cls.__dict__.get('__init__')):
        cls.__init__ = guard_init(cls.__init__)
    for name in CALLS:
        call = getattr(cls, name, None)
        if is_own(call):
            setattr(cls, name, guard(call))
    if not isinstance(getattr(cls, 'do_open', None), types.FunctionType):
        cls.do_open = guard(open_nothing)


def log_uncaught(what, kind, error, place):
    log(what, frames_of(place), describe(error if error is not None else kind()))


def confine_exits():
    """PyGObject calls PyErr_Print() for an exception in a source, and at the SystemExit of the interpreter that ends the
    process. So what plugins raise is another one."""
    class Exit(BaseException):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.code = arguments[0] if arguments else None

    def leave(code=None):
        raise Exit(code)

    Exit.__module__, Exit.__name__, Exit.__qualname__ = 'builtins', 'SystemExit', 'SystemExit'
    builtins.SystemExit, sys.exit = Exit, leave


# The calls become virtual functions once their class is there, which is after this.
Evbus.Ingress.__init_subclass__ = classmethod(init_subclass)

# PyGObject makes a class when somebody first asks for it, and of two threads that ask at once one
# gets a class that no object is of: "Expected Evbus.Event, but got gi.repository.Evbus.Event".
for _name in dir(Evbus):
    getattr(Evbus, _name, None)

# What else a plugin runs: sources, threads, finalizers. In a program that is itself in Python
# these are the program's.
if not sys.orig_argv:
    confine_exits()
    sys.excepthook = functools.partial(log_uncaught, 'an exception of a plugin')
    threading.excepthook = lambda args: log_uncaught(
        'an exception in a thread of a plugin', args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: log_uncaught(
        args.err_msg or 'an exception that was ignored', args.exc_type, args.exc_value, args.exc_traceback)
