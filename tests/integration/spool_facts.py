# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ../support/spool/spool-driver.c said over all its runs on one spool, and
whether it was true. The driver itself checks each event's body and the order."""

from collections import defaultdict


class Lost(AssertionError):
    """An event whose put was answered is nowhere: not delivered, or not in the books."""


REST = '-'      # what the routes had that were forgotten


class Facts:
    def __init__(self):
        self.routes_of = {}                     # id: routes, of the events that were answered
        self.told = set()                       # ids given by the producer and answered
        self.refused = set()
        self.seqs = defaultdict(set)            # id: its sequence numbers
        self.id_of = {}                         # sequence number: id
        self.last_seq = 0
        self.seen = defaultdict(set)            # route: ids that it had
        self.gone = defaultdict(set)            # route: ids that were delivered, expired or dropped
        self.settled = defaultdict(set)         # route: ids that it must not see again
        self.unsure = defaultdict(set)          # the same, once that has been committed
        self.replayed = set()
        self.died = defaultdict(set)            # route: ids that were dead at some time
        self.forgetting = set()                 # routes that are forgotten, or about to be
        self.forgotten = set()
        self.named = set()                      # routes that were given another name
        self.have_name = set()                  # of the last start: those that have it
        self.letters = defaultdict(set)
        self.known = set()
        self.ledgers = {}
        self.conditions = []
        self.drained = False
        self.repeated = 0                       # deliveries beyond the first

    def run_began(self):
        """After a kill: what was not committed may be seen again."""
        self.unsure.clear()
        self.have_name.clear()

    def read(self, text):
        # A kill may cut off the last line.
        for line in text.split('\n')[:-1]:
            word, *rest = line.split(' ')
            getattr(self, '_' + word.replace('-', '_'))(*rest)
        return self

    def _opened(self, condition, *note):
        self.conditions.append((condition, ' '.join(note)))

    def _closed(self, *message):
        pass      # the driver's exit status says so too

    def _unread(self, *message):
        pass

    def _unsettled(self):
        pass

    def _number(self, seq, event_id):
        assert self.id_of.setdefault(seq, event_id) == event_id, f'{seq} is {self.id_of[seq]} and {event_id}'
        self.seqs[event_id].add(seq)
        self.last_seq = max(self.last_seq, int(seq))
        assert len(self.seqs[event_id]) == 1 or event_id in self.replayed, \
            f'{event_id} is stored twice: {self.seqs[event_id]}'

    def _stored(self, seq, event_id, routes):
        assert int(seq) > self.last_seq, f'{event_id} has the number {seq} after {self.last_seq}'
        self._number(seq, event_id)
        self.routes_of[event_id] = routes

    def _told(self, event_id):
        self.told.add(event_id)

    def _unknown(self, event_id):
        pass

    def _refused(self, event_id):
        self.refused.add(event_id)

    def _outcome(self, route, seq, event_id):
        assert event_id not in self.refused, f'{event_id} was refused, and yet route {route} has it'
        assert event_id not in self.settled[route], f'route {route} has settled {event_id}, and has it again'
        self._number(seq, event_id)
        self.seen[route].add(event_id)
        self.unsure[route].add(event_id)

    def _delivered(self, route, seq, event_id):
        self._outcome(route, seq, event_id)
        self.repeated += event_id in self.gone[route]
        self.gone[route].add(event_id)

    def _expired(self, route, seq, event_id):
        self._outcome(route, seq, event_id)
        self.gone[route].add(event_id)

    def _dead(self, route, seq, event_id):
        self._outcome(route, seq, event_id)
        self.died[route].add(event_id)

    def _replaying(self, route, event_id):
        self.settled[route].discard(event_id)
        self.unsure[route].discard(event_id)
        self.replayed.add(event_id)
        self.seen[route].add(event_id)

    def _dropping(self, route, event_id):
        self.gone[route].add(event_id)
        self.seen[route].add(event_id)

    def _settled(self):
        for route, ids in self.unsure.items():
            self.settled[route] |= ids
        self.unsure.clear()

    def _letter(self, route, event_id):
        assert event_id not in self.letters[route] or event_id in self.replayed, f'{event_id} has two dead letters'
        self.letters[route].add(event_id)

    def _began(self):
        pass

    def _ended(self):
        pass

    def _forgetting(self, route):
        self.forgetting.add(route)

    def _forgotten(self, route):
        self.forgotten.add(route)

    def _named(self, route):
        self.named.add(route)

    def _has_name(self, route):
        self.have_name.add(route)

    def _known(self, event_id):
        self.known.add(event_id)

    def _ledger(self, route, *figures):
        self.ledgers[route] = {name: int(value) for name, value in (figure.split('=') for figure in figures)}

    def _drained(self):
        self.drained = True

    def check(self):
        """After the last drain."""
        self.check_nothing_lost()
        for condition in self.conditions:
            assert condition[0] in ('new', 'intact', 'full'), condition
        self.check_balance()
        assert self.named <= self.have_name, f'{self.named - self.have_name} lost their new names'
        for route, ledger in self.ledgers.items():
            assert ledger['queued'] == 0 and ledger['weight'] == 0, (route, ledger)
            if route in self.forgetting:
                self.check_forgotten(route, ledger)
            if route in self.forgetting or route == REST:
                continue
            had = self.seen[route] | self.letters[route]
            assert ledger['accepted'] == len(had), (route, ledger, len(had))
            assert ledger['dead'] == len(self.letters[route]), (route, ledger, len(self.letters[route]))
        return self

    def check_forgotten(self, route, ledger):
        """It is there with all but some of its dead letters, which go first, or it is gone and in the books of the rest."""
        accepted = sum(route in routes for routes in self.routes_of.values())
        is_gone = ledger['accepted'] == 0
        assert is_gone or route not in self.forgotten, f'{route} was forgotten, and is back'
        assert ledger['accepted'] + self.ledgers[REST]['accepted'] == accepted, (route, ledger, self.ledgers[REST])
        if is_gone:
            assert not self.letters[route], f'{route} is gone, and has dead letters'
            return
        lost = {event_id for event_id, routes in self.routes_of.items()
                if route in routes and event_id not in self.gone[route] | self.letters[route]}
        if lost - self.died[route]:
            raise Lost(f'{lost - self.died[route]} are lost to route {route}, which is there')
        assert ledger['dead'] == len(self.letters[route]), (route, ledger, len(self.letters[route]))

    def check_balance(self):
        for route, ledger in self.ledgers.items():
            parts = ('delivered', 'dead', 'expired', 'dropped', 'queued')
            assert ledger['accepted'] == sum(ledger[part] for part in parts), (route, ledger)

    def check_nothing_lost(self):
        assert self.drained
        for event_id, routes in self.routes_of.items():
            for route in set(routes) - self.forgetting:
                if event_id not in self.gone[route] and event_id not in self.letters[route]:
                    raise Lost(f'{event_id} ({self.seqs[event_id]}) is lost to route {route}')
        if self.told - self.known:
            raise Lost(f'forgotten ids: {self.told - self.known}')
