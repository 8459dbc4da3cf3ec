# SPDX-License-Identifier: LGPL-2.1-or-later
"""The provider `internal`: what arrives is in the program that put it."""

import contextlib

from adaptor import Failing, Provider, Received


class Adaptor(Provider):
    name = 'internal'

    def options(self, destination, port=None):
        return {'max_events': 4096}

    def read(self, destination):
        """From what conformance.c has said last."""
        lines = [line.split() for line in self.output.splitlines() if line.startswith(f'got {destination} ')]
        return [Received(event_id, number.encode()) for _, _, event_id, number in lines]

    def failing(self, destination):
        """What finds no room is tried again until there is some."""
        return Failing({'max_events': 10}, delivery={'timeout': '300ms'}, step='full')

    @contextlib.contextmanager
    def hanging(self, destination):
        """Nobody takes anything out."""
        yield {'max_events': 10}, lambda: None, lambda: True
