# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proofs that hold for every provider are run for one: pytest --provider NAME. Its
server is started once; each test has a destination of its own on it."""

import pathlib
import shutil
import tempfile

import pytest

import adaptor as adaptors
from certificates import Certificates
from trial import Trial


def pytest_addoption(parser):
    parser.addoption('--provider', help='whose server to start, as in adaptor_NAME.py')


@pytest.fixture(scope='session')
def scratch():
    path = pathlib.Path(tempfile.mkdtemp(prefix='evbus-provider-'))
    # Servers that drop root's rights still have to find their files.
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope='session')
def certificates(scratch):
    folder = scratch / 'certificates'
    folder.mkdir()
    return Certificates(folder)


@pytest.fixture(scope='session')
def server(request, scratch, certificates):
    """The adaptor of the provider, with its server running, if it has one."""
    server = adaptors.make(request.config.getoption('--provider'), scratch / 'server', certificates)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def adaptor(server):
    """The same for one test; a server that was left dead is started again."""
    return server.start()


@pytest.fixture
def destination(request, server):
    """A name that no other test has."""
    server.destinations = getattr(server, 'destinations', 0) + 1
    return f'd{server.destinations}'


@pytest.fixture
def proxy(adaptor):
    """A proxy before the plain port."""
    proxy = adaptor.proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def trial(adaptor, evbusd, client, destination, folder):
    """Of whatever the test is, no password gets into the log, the reasons or the dead letters."""
    trial = Trial(adaptor, evbusd, client, destination, folder)
    yield trial
    if trial.daemon is not None:
        for secret in adaptors.PASSWORD, adaptors.WRONG_PASSWORD:
            assert secret not in trial.told()
