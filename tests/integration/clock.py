# SPDX-License-Identifier: LGPL-2.1-or-later
"""The clock of a program, set by a test; see ../support/clock/clock.c."""

import struct
import time
import uuid

from evbus_service import preload

MINUTE, HOUR, DAY = 60, 3600, 86400


class Clock:
    def __init__(self, folder, program):
        self.program = program
        self.file = folder / 'clock'
        self.boot = folder / 'boot_id'
        self.of_day = self.since_boot = 0     # s, on top of the true ones
        self.reboot(after=0)

    def environment(self):
        return {'LD_PRELOAD': preload('clock', self.program), 'EVBUS_CLOCK_FILE': str(self.file),
                'EVBUS_CLOCK_BOOT': str(self.boot)}

    def _write(self):
        with open(self.file, 'r+b' if self.file.exists() else 'wb', buffering=0) as stream:
            stream.write(struct.pack('=qq', int(self.of_day * 1e6), int(self.since_boot * 1e6)))

    def jump(self, seconds):
        """The time of day; the true time goes on."""
        self.of_day += seconds
        self._write()

    def suspend(self, seconds):
        """The machine slept: all but CLOCK_MONOTONIC went on."""
        self.of_day += seconds
        self.since_boot += seconds
        self._write()

    def reboot(self, after):
        """The next start is that of another boot, after so many seconds without power."""
        self.boot.write_text(f'{uuid.uuid4()}\n')
        self.of_day += after
        self.since_boot = -time.clock_gettime(time.CLOCK_BOOTTIME)
        self._write()
