# SPDX-License-Identifier: LGPL-2.1-or-later
"""The provider `file`, which needs no server."""

import base64
import contextlib
import fcntl
import json

from evbus_service import read_events

from adaptor import Failing, Provider, Received


class Adaptor(Provider):
    name = 'file'

    def path(self, destination):
        return self.folder / f'{destination}.jsonl'

    def options(self, destination, port=None):
        return {'path': str(self.path(destination)), 'sync': 'batch'}

    def read(self, destination):
        return [Received(event['id'], self.body(event), event.get('content_type'), event['routing_key'])
                for event in read_events(self.path(destination))]

    def body(self, event):
        if 'body_base64' in event:
            return base64.b64decode(event['body_base64'])
        return json.dumps(event['body'], separators=(',', ':'), ensure_ascii=False).encode()

    def failing(self, destination):
        return Failing(self.options(destination), reason='JSON')

    @contextlib.contextmanager
    def hanging(self, destination):
        """Another writer keeps the file locked."""
        with open(self.path(destination), 'a') as other:
            yield self.options(destination), lambda: fcntl.flock(other, fcntl.LOCK_EX), lambda: True
