# SPDX-License-Identifier: LGPL-2.1-or-later
import sys

from gi.repository import Evbus, GObject


class BrokenInit(GObject.Object, Evbus.Ingress):
    def __init__(self):
        super().__init__()
        sys.exit('an exit in init')

    def do_publish(self, ctx, batch, cancellable):
        batch.confirm_all()
        return True
