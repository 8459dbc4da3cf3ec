# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server of HTTP/1.1 that answers as a test tells it to."""

import contextlib
import dataclasses
import http.server
import threading
import time


@dataclasses.dataclass
class Request:
    method: str
    path: str
    # By their names in lower case; of two of the same name, the values with a comma between.
    headers: dict
    body: bytes
    # Of the client's connection.
    port: int
    time: float
    # An event after which the connection ends when the answer has been written.
    cut: threading.Event = None


class Fake(http.server.ThreadingHTTPServer):
    """answer(REQUEST) returns a status, headers and a body; or None, to hang up. What has come is
    in `requests`; `most` is how many were being answered at once."""
    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def setup(self):
            super().setup()
            self.server.connections.append(self.connection)

        def handle_any(self):
            headers = {}
            for name, value in self.headers.items():
                headers[name.lower()] = ','.join(filter(None, (headers.get(name.lower()), value)))
            body = self.rfile.read(int(headers.get('content-length', 0)))
            request = Request(self.command, self.path, headers, body, self.client_address[1], time.time())
            with self.server.lock:
                self.server.requests.append(request)
                self.server.now += 1
                self.server.most = max(self.server.most, self.server.now)
            answer = self.server.answer(request)
            with self.server.lock:
                self.server.now -= 1
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not {'Content-Length', 'Transfer-Encoding'} & headers.keys() and status not in (204, 304):
                self.send_header('Content-Length', len(body))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)
            if request.cut:
                request.cut.wait()
                self.close_connection = True

        do_POST = do_PUT = do_PATCH = do_CONNECT = do_GET = handle_any

        def log_message(self, *arguments):
            pass

    def __init__(self, answer=lambda request: (204, {}, b'')):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.answer = answer
        self.port = self.server_address[1]
        self.url = f'http://127.0.0.1:{self.port}'
        self.lock = threading.Lock()
        self.requests = []
        self.connections = []
        self.now = self.most = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        self._thread.start()

    def handle_error(self, request, client_address):
        pass  # the client has gone

    def close(self):
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.close()


def page(status, text='', **headers):
    """An answer."""
    return status, {name.replace('_', '-'): str(value) for name, value in headers.items()}, text.encode()
