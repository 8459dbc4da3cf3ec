# SPDX-License-Identifier: LGPL-2.1-or-later
"""A call that waits for its destination is given up when it is cancelled."""

import pytest

from evbus_service import wait_for
from test_conformance import conformance, end, wait_line  # noqa: F401


@pytest.mark.parametrize('call', ['open', 'publish'])
def test_a_call_that_hangs_is_cancelled(adaptor, conformance, destination, call):  # noqa: F811
    adaptor.prepare(destination)
    with adaptor.hanging(destination) as (options, hang, is_tried):
        if call == 'open':
            hang()
        process = conformance('hang', default=options)
        wait_line(process, 'started')
        if call == 'publish':
            hang()
        process.stdin.write('\n')
        process.stdin.flush()
        wait_line(process, 'put')
        wait_for(is_tried, 'somebody to wait')
        process.stdin.write('\n')
        process.stdin.flush()
        end(process)
