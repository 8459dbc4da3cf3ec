# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole ingress: it writes one line per event."""

import os
import sys

from gi.repository import Evbus, Gio, GObject


class ExampleIngress(GObject.Object, Evbus.Ingress):

    def do_open(self, ctx, cancellable):
        path = ctx.get_string('path')
        # Writing to a pipe that is full would wait, and nothing could cancel that.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        self.out = Gio.UnixOutputStream.new(os.open(path, flags, 0o666) if path else sys.stdout.fileno(), bool(path))
        return True

    def do_publish(self, ctx, batch, cancellable):
        lines = []
        for i in range(batch.get_n_events()):
            event = batch.get_event(i)
            try:
                body = event.get_body().get_data().decode()
            except UnicodeDecodeError as error:
                batch.fail(i, Evbus.Outcome.POISON, f'the body is no text: {error.reason}')
                continue
            lines.append(f"{ctx.get_string('prefix') or ''}{event.get_routing_key()} {body}\n")
        self.out.write_all(''.join(lines).encode(), cancellable)
        batch.confirm_all()
        return True

    def do_close(self, ctx):
        self.out.close()
        return True
