# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of evbusd that always have some puts under way."""

from gi.repository import GLib

from evbus_service import CallError, iterate_until

WINDOW = 12        # puts that a producer has under way


class Producer:
    """Each body is a number of its own, and larger than those before."""

    numbers = iter(range(1 << 60))

    def __init__(self, client, answered):
        self.client = client
        self.answered = answered       # id: number
        self.waiting = []              # (number, what start() returned)

    def start(self, number):
        return self.client.start('Put', '(svs)', 'k', GLib.Variant('t', number), '')

    def put(self):
        while len(self.waiting) < WINDOW:
            number = next(self.numbers)
            self.waiting.append((number, self.start(number)))

    def collect(self):
        """Takes what was answered; returns whether a put failed."""
        failed = False
        for number, answer in [waiting for waiting in self.waiting if waiting[1]]:
            if isinstance(answer[0], CallError):
                failed = True
            else:
                self.answered[answer[0][0]] = number
        self.waiting = [waiting for waiting in self.waiting if not waiting[1]]
        return failed

    def finish(self):
        """Waits for the last answers; returns whether a put failed."""
        iterate_until(lambda: all(answer for _number, answer in self.waiting), 'the last answers')
        return self.collect()


def work(producers):
    """Puts, and takes what is answered by then; returns whether a put failed."""
    for producer in producers:
        producer.put()
    waiting = [answer for producer in producers for _number, answer in producer.waiting]
    iterate_until(lambda: any(waiting), 'an answer')
    return any([producer.collect() for producer in producers])
