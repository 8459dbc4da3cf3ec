# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real server in a scratch folder, on ports of its own."""

import os
import pathlib
import random
import signal
import socket
import subprocess

from evbus_service import wait_for

DEADLINE = 60
# Ports from here on are handed out to clients.
EPHEMERAL = 32768


def free_port():
    """A port of the loopback that nobody listens on, below those of clients."""
    for _ in range(1000):
        port = random.randrange(10000, EPHEMERAL)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port
    raise RuntimeError('no port is free')


def accepts(port):
    """Whether somebody listens on that port of the loopback."""
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    except OSError:
        return False


def descendants(pid):
    """The process and all that it has started, in /proc."""
    found = [pid]
    for parent in found:
        for children in pathlib.Path('/proc').glob(f'{parent}/task/*/children'):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                pass  # it has ended meanwhile
    return found


class Server:
    """Overridden: command(), and what tells that it is ready."""

    # What it may take to be ready (s), on a machine that does much else.
    start_deadline = DEADLINE

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.log_path = self.folder / 'server.log'

    def command(self):
        """The arguments and what its environment has beside ours."""
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    def log(self):
        return self.log_path.read_text(errors='replace') if self.log_path.exists() else ''

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        arguments, environment = self.command()
        with open(self.log_path, 'ab') as log:
            # Of our process group: whoever ends that ends the server too.
            self.process = subprocess.Popen(arguments, cwd=self.folder, env={**os.environ, **environment},
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready():
            assert self.process.poll() is None, f'{arguments[0]} ended with {self.process.returncode}:\n{self.log()}'
            return self.is_ready()

        wait_for(ready, f'{arguments[0]} to be ready', self.start_deadline)
        return self

    def kill(self):
        """kill -9, of all its processes at once."""
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def stop(self):
        if not self.is_running():
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        finally:
            self.kill()
