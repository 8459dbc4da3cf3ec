# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd with a spool that is truncated, damaged or foreign: it starts, says so, takes events,
and delivers what could be recovered and nothing that was never put."""

import base64
import pathlib
import random
import shutil
import signal

import pytest
from gi.repository import GLib

import disk
from damages import DAMAGES, PAGE, damage_one
from evbus_service import DEADLINE, MANAGER, CallError, program, read_events, wait_for
from spool_store import attempt, scaled

N = 200                # events of the backlog
SAID = {'intact': '', 'recovered': 'damaged-', 'damaged': 'next start'}


def text(number):
    return f'{number} ' * 100


class Service:
    """A spool with a backlog, and evbusd that delivers from it."""

    def __init__(self, folder, evbusd, client, held):
        self.spool = folder / 'spool'
        self.backlog = folder / 'backlog'
        self.evbusd = evbusd
        self.client = client
        self.held = held
        self.n = 0             # numbers that were put
        self.environment = None

    def start(self, **keywords):
        keywords.setdefault('env', self.environment)
        return self.evbusd('evbus: {stop_timeout: 100ms}\n' + self.held.config,
                           arguments=['--session', '--spool', str(self.spool)], **keywords)

    def put(self):
        """Returns the number, once it was answered."""
        self.n += 1
        self.client.put('k', GLib.Variant('s', text(self.n - 1)))
        return self.n - 1

    def fill(self, killed):
        daemon = self.start()
        for _ in range(N):
            self.put()
        if killed:
            daemon.kill()
        else:
            daemon.stop()
        wait_for(lambda: not self.client.owner(), 'the name to be free')
        shutil.copytree(self.spool, self.backlog)
        self.held.let()

    def restore(self):
        shutil.rmtree(self.spool)
        shutil.copytree(self.backlog, self.spool)
        self.delivered_before = len(self.held.events())

    def delivered(self):
        """The numbers since restore(); each is an event that was put, and whole."""
        bodies = [event['body'] for event in self.held.events()[self.delivered_before:]]
        numbers = [int(body.split()[0]) for body in bodies]
        assert [text(number) for number in numbers] == bodies and all(number < self.n for number in numbers)
        return numbers

    def condition(self):
        self.client.ledger()     # the name may be there before the spool is open
        return self.client.property('SpoolCondition')

    def live(self):
        """One life. Returns what it says of its spool at its end, and the new events if it took and
        delivered them, and has nothing left: not where damage was found at work."""
        daemon = self.start()
        wait_for(lambda: self.condition() != 'opening', 'the spool')
        try:
            new = [self.put() for _ in range(3)]
        except CallError as error:
            assert 'SpoolFailed' in error.name, error
            new = None
        wait_for(lambda: self.client.ledger()['queued'] == 0 or self.condition() == 'damaged', 'delivery')
        condition, note = self.condition(), self.client.property('SpoolNote')
        assert SAID[condition] in note or self.condition() != condition, (condition, note)
        if condition != 'intact':
            daemon.wait_log(str(self.spool))
        daemon.stop()
        assert new or condition == 'damaged'
        return condition, new if condition != 'damaged' else None

    def check(self, damage):
        """damage() is done to the backlog: after a few starts all is well, twice. Returns what the first
        one said, and the numbers of the backlog that were delivered."""
        self.restore()
        damage()
        found, well = None, 0
        for _ in range(6):
            condition, new = self.live()
            found = found or condition
            well = well + 1 if new else 0
            if well == 2:
                break
        else:
            raise AssertionError('it is never mended')
        delivered = self.delivered()
        assert delivered[-len(new):] == new, (delivered[-10:], new)
        return found, [number for number in delivered if number < N]


@pytest.fixture
def service(folder, evbusd, client, held):
    return Service(folder, evbusd, client, held)


@pytest.mark.parametrize('damage', DAMAGES)
def test_it_starts(service, damage):
    service.fill(killed=damage.__name__ in ('truncate', 'overwrite'))
    for seed in range(scaled(3, 200)):
        name = f'{damage.__name__} {seed}'
        attempt(name, service.check, lambda rng=random.Random(name): damage_one(rng, damage, service.spool))


def test_what_can_be_recovered_is_delivered(service):
    """Of a backlog in order: all of it, where only the head is gone; but for some events, where a page
    is; the beginning, where the end is. Again only what could not be written down."""
    service.fill(killed=False)
    path = service.spool / 'spool.db'
    content = path.read_bytes()
    middle = len(content) // 2 // PAGE * PAGE

    def deliver(damaged):
        condition, numbers = service.check(lambda: path.write_bytes(damaged))
        first = list(dict.fromkeys(numbers))
        assert condition in ('recovered', 'damaged') and sorted(first) == first
        assert first == numbers or condition == 'damaged'
        return first

    assert deliver(b'x' * 100 + content[100:]) == list(range(N))
    assert N - 2 * PAGE // len(text(0)) <= len(deliver(content[:middle] + b'x' * PAGE + content[middle + PAGE:])) < N
    assert 0 < len(deliver(content[:middle])) < N


def test_a_foreign_file(service):
    """It is set aside as it is, and nothing of it is delivered."""
    service.fill(killed=False)
    foreign = b'not a database\n' * 1000
    assert service.check(lambda: (service.spool / 'spool.db').write_bytes(foreign)) == ('recovered', [])
    assert [aside.read_bytes() for aside in service.spool.glob('spool.db.damaged-*')] == [foreign]


FIXTURES = pathlib.Path(__file__).parent.parent / 'unit' / 'spool-fixtures'


def test_an_older_format(service, client, evbusd):
    """It is brought to the present one, and what a route of it has is delivered."""
    service.spool.mkdir(mode=0o700)
    shutil.copyfile(FIXTURES / 'format-1.db', service.spool / 'spool.db')
    path = service.spool.parent / 'beta.jsonl'
    daemon = evbusd('internal: {none: {}}', arguments=['--session', '--spool', str(service.spool)])
    wait_for(lambda: service.condition() == 'migrated', 'the migration to be told')
    assert {route['key'] for route in client.routes() if route['state'] == 'orphaned'} == {'alpha', 'beta', 'old'}
    before = client.ledger()
    client.call('NameOrphan', '(ss)', 'beta', 'b', interface=MANAGER)
    daemon.config.write_text(f'file: {{none: {{path: {path}, delivery: {{name: b}}}}}}')
    client.call('Reload', interface=MANAGER)
    # The odd ones, of which one is too old by now; see test-spool-format.c.
    client.wait_ledger(delivered=before['delivered'] + 14, dead=before['dead'] + 1, queued=before['queued'] - 15)
    bodies = [base64.b64decode(event['body_base64']) for event in read_events(path)]
    assert [int(body.split()[0]) for body in bodies] == [n for n in range(1, 31, 2) if n != 7]
    daemon.stop()


def test_a_newer_format(service, evbusd):
    """It is refused, and left as it is."""
    service.spool.mkdir(mode=0o700)
    content = bytearray((FIXTURES / 'format-3.db').read_bytes())
    content[60:64] = (99).to_bytes(4, 'big')      # user_version
    (service.spool / 'spool.db').write_bytes(content)
    daemon = evbusd('internal: {default: {}}', arguments=['--session', '--spool', str(service.spool)], start=False).spawn()
    assert daemon.process.wait(DEADLINE) == 1
    assert 'newer evbus' in daemon.log() and 'format 99' in daemon.log()
    assert (service.spool / 'spool.db').read_bytes() == content


@pytest.mark.parametrize('where', ['header', 'middle'])
def test_a_bad_sector(service, where):
    """It is met at the start or by what reads the backlog; what stands elsewhere is delivered, once."""
    service.fill(killed=False)
    service.restore()
    path = service.spool / 'spool.db'
    at = 0 if where == 'header' else path.stat().st_size // 2 // PAGE * PAGE
    service.environment = disk.environment(service.spool, program('evbusd'), bad=f'{path.stat().st_ino}:{at}')
    for _ in range(4):
        condition, new = service.live()
        if new:
            break
    numbers = service.delivered()
    backlog = [number for number in numbers if number < N]
    assert len(set(backlog)) >= N - (2 * PAGE // len(text(0)) if where == 'middle' else 0)
    assert sorted(dict.fromkeys(backlog)) == list(dict.fromkeys(backlog)) and numbers[-len(new):] == new
    assert any(service.spool.glob('spool.db.damaged-*'))


def test_it_waits_for_room(service, folder):
    """What is recovered needs space beside the damaged file. Until there is some nothing is changed, and
    then the start goes on by itself."""
    switch = folder / 'full'
    service.fill(killed=False)
    service.restore()
    path = service.spool / 'spool.db'
    path.write_bytes(b'x' * 100 + path.read_bytes()[100:])
    (service.spool / 'reserve').unlink()

    def contents():
        return {file.name: file.read_bytes() for file in service.spool.iterdir() if file.name != 'lock'}

    before = contents()
    environment = disk.environment(service.spool, program('evbusd'), fault='enospc@1', switch=switch)

    def begin():
        switch.touch()
        daemon = service.start(env=environment, start=False).spawn()
        daemon.wait_log('make room on the disk')
        assert not service.client.owner()
        assert contents() == before
        return daemon

    daemon = begin()
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0
    daemon = begin()
    switch.unlink()
    wait_for(service.client.owner, 'evbusd to be on the bus')
    service.client.wait_ledger(queued=0)
    assert service.delivered() == list(range(N)) and service.condition() == 'recovered'
    daemon.stop()
