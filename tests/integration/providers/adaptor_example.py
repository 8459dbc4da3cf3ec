# SPDX-License-Identifier: LGPL-2.1-or-later
"""The provider `example`, in Python: it writes bodies, and no ids."""

import contextlib
import os
import pathlib

from adaptor import Failing, Provider, Received


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

    def writers(self, destination):
        """Who has it open."""
        n = 0
        for link in pathlib.Path('/proc').glob('[0-9]*/fd/*'):
            with contextlib.suppress(OSError):
                n += os.readlink(link) == str(self.path(destination))
        return n

    def failing(self, destination):
        return Failing(self.options(destination), reason='no text')

    @contextlib.contextmanager
    def hanging(self, destination):
        """A pipe that is full to the last byte, and which nobody reads."""
        os.mkfifo(self.path(destination))
        pipe = os.open(self.path(destination), os.O_RDWR | os.O_NONBLOCK)

        def fill():
            for size in 4096, 1:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.write(pipe, b'.' * size)

        try:
            yield self.options(destination), fill, lambda: self.writers(destination) > 1
        finally:
            os.close(pipe)
