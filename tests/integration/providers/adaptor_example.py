# SPDX-License-Identifier: LGPL-2.1-or-later
"""The provider `example`, in Python: it writes bodies, and no ids."""

from adaptor import Provider, Received


class Adaptor(Provider):
    name = 'example'
    carries_id = False

    def path(self, destination):
        return self.folder / f'{destination}.txt'

    def options(self, destination, port=None):
        return {'path': str(self.path(destination))}

    def read(self, destination):
        lines = [line.split(' ') for line in self.path(destination).read_text().splitlines()]
        return [Received(None, body.encode(), routing_key=key) for key, body in lines]
