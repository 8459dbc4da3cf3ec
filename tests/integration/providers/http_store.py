#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""http_store.py FOLDER NGINX-CONFIG runs nginx with that configuration, and behind it, on the
socket FOLDER/store, what stores requests: each is a line of FOLDER/NAME.jsonl, NAME the
first part of its path. The system has it before the answer 204, so it outlives kill -9; to have
the disk sync each one would be most of the time of a test."""

import asyncio
import base64
import json
import pathlib
import signal
import subprocess
import sys


class Store:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.files = {}

    def add(self, record):
        name = record['path'].split('?')[0].split('/')[1]
        if name not in self.files:
            self.files[name] = open(self.folder / f'{name}.jsonl', 'ab', buffering=0)
        self.files[name].write(json.dumps(record).encode() + b'\n')

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b'\r\n\r\n')
                request, *lines = head.decode('utf-8').split('\r\n')[:-2]
                headers = [line.split(': ', 1) if ': ' in line else [line.rstrip(':'), ''] for line in lines]
                length = next((int(value) for name, value in headers if name.lower() == 'content-length'), 0)
                method, path, _ = request.split(' ')
                self.add({'method': method, 'path': path, 'headers': headers,
                          'body': base64.b64encode(await reader.readexactly(length)).decode()})
                writer.write(b'HTTP/1.1 204 No Content\r\n\r\n')
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


async def main(folder, config):
    path = pathlib.Path(folder) / 'store'
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(Store(folder).serve, path)
    nginx = subprocess.Popen(['/usr/sbin/nginx', '-c', config, '-p', folder])
    stop = asyncio.Event()
    for number in signal.SIGTERM, signal.SIGCHLD:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    nginx.terminate()
    server.close()
    return nginx.wait()


sys.exit(asyncio.run(main(*sys.argv[1:])))
