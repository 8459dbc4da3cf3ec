# SPDX-License-Identifier: LGPL-2.1-or-later
from gi.repository import Evbus, GObject


class BrokenInit(GObject.Object, Evbus.Ingress):
    def __init__(self):
        super().__init__()
        raise ValueError('an exception in init')

    def do_open(self, ctx, cancellable):
        return True

    def do_publish(self, ctx, batch, cancellable):
        batch.confirm_all()
        return True
