# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every ingress has to do alike, by conformance.c."""

import json
import subprocess

import pytest

from evbus_service import build_root

N = 500
FEW = 100
DEADLINE = 150
# What the allocators keep for themselves grows too.
PLAIN_HEAP = {'GLIBC_TUNABLES': 'glibc.malloc.tcache_count=0', 'G_SLICE': 'always-malloc'}


@pytest.fixture
def conformance(adaptor, folder, environment):
    """conformance(STEP, N, one={...}, two={...}) starts it with a route for each of these
    profiles and their data; further arguments stand behind N."""
    processes = []

    def start(step, n=0, *arguments, **profiles):
        config = folder / 'conformance.yaml'
        config.write_text(json.dumps({adaptor.name: profiles}))
        program = build_root() / 'tests/integration/providers/conformance'
        process = subprocess.Popen([program, config, step, str(n), *arguments], env={**environment, **PLAIN_HEAP},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_line(process, line):
    assert line + '\n' in iter(process.stdout.readline, ''), end(process)


def end(process):
    """What it has printed."""
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output[-2000:] + errors
    return output


def test_order_in_batches_of_all_sizes(adaptor, conformance, destination):
    sizes = 1, 7, 256
    profiles = {}
    for size in sizes:
        adaptor.prepare(f'{destination}-{size}')
        profiles[f'{destination}-{size}'] = {**adaptor.options(f'{destination}-{size}'), 'delivery': {'batch': size}}
    adaptor.output = end(conformance('deliver', N, **profiles))
    for size in sizes:
        put = [line.split()[2:] for line in adaptor.output.splitlines() if line.startswith(f'put {destination}-{size} ')]
        received = adaptor.read(f'{destination}-{size}')
        assert [event.body.decode() for event in received] == [number for _, number in put] == [str(n) for n in range(N)]
        if adaptor.carries_id:
            assert [event.id for event in received] == [event_id for event_id, _ in put]


def test_close_while_publishing(adaptor, conformance, destination):
    adaptor.prepare(destination)
    end(conformance('close', 10, default={**adaptor.options(destination), 'delivery': {'batch': 10}}))


def test_nothing_leaks(adaptor, conformance, destination):
    adaptor.prepare(destination)
    end(conformance('leak', 30, default=adaptor.options(destination)))


def test_an_event_that_fails_among_good_ones(adaptor, conformance, destination):
    """Each is marked for itself: the good ones arrive once, that one is given up, and why is said. In one batch, and in small
    ones, which grow as they are confirmed where the ingress has that."""
    profiles, places = {}, {}
    for name, batch in (destination, {'linger': '200ms'}), (f'{destination}-7', 7):
        failing = adaptor.failing(name)
        delivery = {'batch': batch, 'retry': {'min': '20ms', 'max': '100ms'}, **failing.delivery}
        profiles[name] = {**failing.options, 'delivery': delivery}
        places[name] = failing.place or name
    adaptor.output = end(conformance(failing.step, FEW, *failing.key, **profiles))
    lines = [line.split(' ', 3) for line in adaptor.output.splitlines()]
    for name, place in places.items():
        assert [event.body.decode() for event in adaptor.read(place)] == [str(n) for n in range(FEW)]
    spoilt = [line[1:] for line in lines if line[0] == 'spoilt']
    dead = [line[1:] for line in lines if line[0] == 'dead']
    assert sorted(line[:2] for line in dead) == sorted(spoilt)
    assert all(failing.reason in reason for _, _, reason in dead), dead
