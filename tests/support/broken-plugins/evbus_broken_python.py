# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ingress that goes wrong where its option `mode` says."""

from gi.repository import Evbus, GLib, GObject


class BrokenIngress(GObject.Object, Evbus.Ingress):

    def do_open(self, ctx, cancellable):
        if ctx.get_string('mode') == 'open':
            raise ValueError('an exception in open')
        return True

    def do_publish(self, ctx, batch, cancellable):
        mode = ctx.get_string('mode')
        if mode == 'publish':
            raise ValueError('an exception in publish')
        if mode == 'glib':
            raise GLib.Error('the login was refused', 'evbus-error-quark', Evbus.Error.BROKEN)
        if mode == 'none':
            return None
        if mode == 'false':
            return False
        mailbox = ctx.get_mailbox()
        return mailbox.push_batch(batch, None, cancellable)
