# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole ingress: it writes one line per event."""

import sys

from gi.repository import Evbus, GObject


class ExampleIngress(GObject.Object, Evbus.Ingress):

    def do_open(self, ctx, cancellable):
        path = ctx.get_string('path')
        self.out = open(path or sys.stdout.fileno(), 'a', closefd=bool(path), encoding='utf-8')
        return True

    def do_publish(self, ctx, batch, cancellable):
        for i in range(batch.get_n_events()):
            event = batch.get_event(i)
            body = event.get_body().get_data().decode('utf-8', 'replace')
            print(ctx.get_string('prefix') or '', event.get_routing_key(), ' ', body, sep='', file=self.out)
        self.out.flush()
        batch.confirm_all()
        return True

    def do_close(self, ctx):
        self.out.close()
        return True
