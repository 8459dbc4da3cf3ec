# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ingress that goes wrong where its option `mode` says."""

import sys

from gi.repository import Evbus, GLib, GObject


def exit_now(_):
    sys.exit('an exit in a source')


class BrokenIngress(GObject.Object, Evbus.Ingress):

    def do_open(self, ctx, cancellable):
        if ctx.get_string('mode') == 'open':
            raise ValueError('an exception in open')
        return True

    def call_later(self, callback):
        source = GLib.idle_source_new()
        source.set_callback(callback)
        source.attach(GLib.MainContext.ref_thread_default())

    def fail_later(self, text):
        def fail(_):
            raise ValueError(text)

        self.call_later(fail)

    def do_publish(self, ctx, batch, cancellable):
        mode = ctx.get_string('mode')
        if mode == 'publish':
            raise ValueError('an exception in publish')
        if mode == 'glib':
            raise GLib.Error('the login was refused', 'evbus-error-quark', Evbus.Error.BROKEN)
        if mode == 'exit':
            sys.exit('an exit in publish')
        if mode == 'key':
            raise ValueError(batch.get_event(0).get_routing_key())
        if mode == 'idle':
            self.fail_later(batch.get_event(0).get_routing_key())
            batch.confirm_all()
            return True
        if mode == 'idle-exit':
            self.call_later(exit_now)
            batch.confirm_all()
            return True
        if mode == 'none':
            return None
        if mode == 'false':
            return False
        mailbox = ctx.get_mailbox()
        return mailbox.push_batch(batch, None, cancellable)
