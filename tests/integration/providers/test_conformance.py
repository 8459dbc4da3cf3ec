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
    profiles and their data."""
    processes = []

    def start(step, n=0, **profiles):
        config = folder / 'conformance.yaml'
        config.write_text(json.dumps({adaptor.name: profiles}))
        program = build_root() / 'tests/integration/providers/conformance'
        process = subprocess.Popen([program, config, step, str(n)], env={**environment, **PLAIN_HEAP}, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    """Of servers, test_delivery.py shows it."""
    if adaptor.fails_in is None:
        return
    step, options = adaptor.fails_in
    # All are there before the first batch is made.
    delivery = {'batch': {'linger': '200ms'}, 'timeout': '300ms', 'retry': {'min': '20ms', 'max': '100ms'}}
    adaptor.output = end(conformance(step, FEW, **{destination: {**adaptor.options(destination), **options, 'delivery': delivery}}))
    assert [event.body.decode() for event in adaptor.read(destination)] == [str(n) for n in range(FEW)]
