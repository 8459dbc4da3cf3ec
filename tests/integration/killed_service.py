# SPDX-License-Identifier: LGPL-2.1-or-later
"""evbusd over many lives that end by kill -9, with producers at work, and what came of it."""

import json
import shutil

import disk
from evbus_service import build_root, preload, program, wait_for
from producers import Producer, work
from spool_facts import Lost

PRODUCERS = 3


def whole_length(content):
    """Without a line that a kill has torn, which the next life cuts off."""
    end = content.rfind(b'\n') + 1
    try:
        json.loads(content[end:])
    except ValueError:
        return end
    return len(content)


class KilledService:
    """evbusd with a spool on a disk of the tests, over many lives."""

    producer = Producer

    def __init__(self, folder, evbusd, bus):
        self.folder = folder
        self.root = folder / 'disk'
        self.log = folder / 'disk-log'
        self.out = folder / 'out.jsonl'
        self.evbusd = evbusd
        self.bus = bus
        self.arguments = ['--session', '--spool', str(self.root / 'spool')]
        self.program = program('evbusd')
        self.mutant = None             # one of ../support/mutants
        self.reset()

    def reset(self):
        """As if it had never been there."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.out.unlink(missing_ok=True)
        self.answered = {}
        self.lives = []                # how long out.jsonl was at the end of each, without a torn line

    def configuration(self):
        """Has a route into self.out that gets everything."""
        raise NotImplementedError

    def begin(self, **settings):
        env = disk.environment(self.root, self.program, **settings) if settings else {}
        if self.mutant:
            library = f'{build_root()}/tests/support/mutants/libevbus-{self.mutant}.so'
            env['LD_PRELOAD'] = f'{preload("disk", self.program)} {library}'
        return self.evbusd(self.configuration(), arguments=self.arguments, env=env, start=False).spawn()

    def live(self, **settings):
        """One life with producers, until it is killed: by its disk, or by meanwhile()."""
        daemon = self.begin(**settings)
        client = self.bus.client()
        wait_for(lambda: daemon.process.poll() is not None or client.owner(), 'evbusd to come or go')
        producers = [self.producer(self.bus.client(), self.answered) for _ in range(PRODUCERS)]
        failed = False
        while not failed and daemon.process.poll() is None:
            failed = work(producers)
            self.meanwhile(daemon, client)
        daemon.wait()
        assert daemon.process.returncode == -9, daemon.log()
        wait_for(lambda: not client.owner(), 'the name to be free')
        for producer in producers:
            producer.finish()
        self.bus.close_clients()
        self.ended()

    def meanwhile(self, daemon, client):
        """Called again and again during a life."""

    def ended(self):
        """Called at the end of each life."""
        self.lives.append(whole_length(self.out.read_bytes() if self.out.exists() else b''))

    def read(self):
        """[(life, event)] in the order of out.jsonl. A kill may cut off a line."""
        events, position, life = [], 0, 0
        for line in self.out.read_bytes().split(b'\n'):
            while life < len(self.lives) and position >= self.lives[life]:
                life += 1
            position += len(line) + 1
            try:
                events.append((life, json.loads(line)))
            except ValueError:
                pass
        return events

    def check(self):
        lives, ids = {}, {}
        for life, event in self.read():
            event_id, number = event['id'], event['body']
            assert ids.setdefault(number, event_id) == event_id, f'{number} is {ids[number]} and {event_id}'
            assert life not in lives.setdefault(event_id, []), f'{event_id} was delivered twice in one life'
            lives[event_id].append(life)
        lost = {event_id: number for event_id, number in self.answered.items() if ids.get(number) != event_id}
        if lost:
            raise Lost(f'{len(lost)} of {len(self.answered)} answered events are lost, as {sorted(lost.items())[:3]}')
        return lives
