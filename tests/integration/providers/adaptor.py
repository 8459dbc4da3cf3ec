# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the common proofs have to know of a provider. Each has a file of its own here,
adaptor_NAME.py, with a class Adaptor that is a Provider or, mostly, a ProviderServer."""

import contextlib
import dataclasses
import importlib
import pathlib

from proxy import Proxy
from server import Server

PASSWORD = 'se=cr/et p4ss'
WRONG_PASSWORD = 'wr0ng p4ss'


@dataclasses.dataclass
class Received:
    """What the independent client has read of one event. With CloudEvents, headers are
    its attributes by their names in the specification, whatever the transport calls them."""
    id: str
    body: bytes
    content_type: str = None
    routing_key: str = None
    headers: dict = dataclasses.field(default_factory=dict)
    # All that the transport has beside the body, by its own names; the content type is "content-type".
    wire: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Failing:
    """A destination where one event fails among good ones: its profile, and what is delivery there."""
    options: dict
    delivery: dict = dataclasses.field(default_factory=dict)
    # In conformance.c.
    step: str = 'spoilt'
    # The routing key for which the event is refused, if that is why: at most one.
    key: tuple = ()
    # A text in the reason.
    reason: str = ''
    # Where the good ones arrive, if not at the destination itself.
    place: str = None


class Provider:
    """What tells one provider from another."""

    name = None
    # Whether each event has a place for its id without CloudEvents.
    carries_id = True
    # A port that a proxy can stand before.
    port = None

    def __init__(self, folder, certificates):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificates = certificates

    def start(self):
        """Also where it was started already."""
        return self

    def stop(self):
        pass

    def options(self, destination, port=None):
        """The profile for a destination of that name; port: of a proxy before the server."""
        raise NotImplementedError

    def proxy(self):
        """A proxy before the plain port."""
        return Proxy(self.port)

    def prepare(self, destination):
        """Makes the destination, where it has to be there before, or be listened to."""

    def read(self, destination):
        """Everything that has arrived there up to now, in order."""
        raise NotImplementedError

    def failing(self, destination):
        """Makes such a destination, where one event fails among good ones: a Failing."""
        raise NotImplementedError

    @contextlib.contextmanager
    def hanging(self, destination):
        """Yields options for the destination, what makes it hang for whoever is about to
        publish there, and what tells whether somebody has tried."""
        proxy = self.proxy()
        try:
            yield self.options(destination, port=proxy.port), lambda: proxy.cut(0, 'silence'), lambda: proxy.cuts == 1
        finally:
            proxy.close()


class ProviderServer(Provider, Server):
    """The server of a provider, which asks for a password on its plain port, and for a
    certificate of the client on its TLS port as well."""

    # Whether its client library connects anew within a publish, so that the route need
    # not try again.
    reconnects = False
    # The values of `cloudevents`.
    cloudevents = ('binary', 'structured')
    # Whether an idle connection is kept, not closed by the server and made anew.
    keeps_idle = False
    # Whether an idle connection that is lost is let go at once, not when it is needed next.
    lets_go = False
    # Whether an authority, a certificate or a server name turns TLS on.
    implies_tls = False
    # Whether it says a line before TLS begins.
    speaks_first = False
    # What it says first where it does, as a server of the tests' own says it.
    greeting = b''
    # Whether it says that the server may want a certificate of the client, where it just hangs up.
    advises = True
    # A text in the reason when the password is wrong.
    wrong_password = 'password'
    # What a profile has beside options() where events have to share their round trips.
    sharing = {}
    # Events on which the server works for far less than 50 ms, also where it gets little
    # of the processor: a batch as it is by default, if that is so.
    quick_batch = 256

    def __init__(self, folder, certificates):
        Server.__init__(self, folder)
        Provider.__init__(self, folder, certificates)
        self.tls_port = None

    def start(self):
        return self if self.is_running() else Server.start(self)

    def stop(self):
        Server.stop(self)

    def secret(self, text):
        """A reference to a secret, as a profile has it."""
        path = self.folder / f'secret-{abs(hash(text))}'
        path.write_text(text + '\n')
        return {'file': str(path)}

    def options(self, destination, port=None, host='127.0.0.1', password=PASSWORD):
        raise NotImplementedError

    def tls_options(self, destination, host='localhost', ca=None, client=True, verify=True, server_name=None,
                    switch=True):
        """The same over TLS; ca: another authority than the right one; client: with a
        certificate of the client; server_name: to be in the server's certificate; switch, where
        TLS is implied: with what turns it on and does nothing else."""
        raise NotImplementedError

    # Of data/profiles/NAME.yaml: the name of a profile, and the destination it leads to.
    example = None
    # The secret of which it speaks.
    credential = PASSWORD

    def localize(self, data):
        """The data of a profile of it, made to lead to this server and none other: over TLS with its authority and a
        certificate of the client, else as a user whom it knows. The rest stays."""
        raise NotImplementedError

    def kill_under_load(self, proxy):
        """kill -9, while clients publish through the proxy. What the server has acknowledged
        by then it has stored."""
        self.kill()

    # For tests/bench/ingress: what its profiles have beside options().
    bench_options = {}

    def bench(self):
        """The environment by which library-NAME.c finds the server."""
        return {'BENCH_PORT': str(self.port), 'BENCH_PASSWORD': PASSWORD}

    @contextlib.contextmanager
    def closes_idle(self, options):
        """For a while the server closes connections that have been idle for a second or
        two; or `options` are changed so that a keepalive is due every second. Yields what
        tells whether that has happened after the last event."""
        raise NotImplementedError
        yield

    @contextlib.contextmanager
    def refuses(self, destination):
        """For a while the server refuses an event for its size; yields the least size of
        a body that is refused."""
        raise NotImplementedError
        yield


def some(options, *names):
    """Those of that name."""
    return {name: options[name] for name in names if name in options}


def make(name, folder, certificates):
    """The adaptor of a provider, not started."""
    return importlib.import_module(f'adaptor_{name}').Adaptor(pathlib.Path(folder), certificates)
