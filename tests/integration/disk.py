# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a cut of the power may leave of a folder, from the log of disk.h.

    disk = Disk(log, base)        # base: snapshot() of the folder at the log's start
    disk.replay(until)            # the records up to that index
    disk.check(folder)            # the log and the true folder say the same
    disk.image(seed, target)      # the folder after a cut: target is made

What was synced is there. Of what was not, a seeded random part is: of each
sector (512 bytes) some state since the last sync; of each entry of a folder the
same; of the size of each file the same. So writes are reordered, and torn at
sectors; each sector alone is whole, as SQLite takes for granted. A name is
durable once its folder was synced: syncing the file is not enough.

A sync that failed leaves pages that the kernel takes for clean: they stay at
risk until they are written again."""

import pathlib
import random
import shutil
import struct
from collections import namedtuple

from evbus_service import preload

SECTOR = 512
PAGE = 4096
HEAD = struct.Struct('<c3xIQQQ')
OPERATIONS = 'cmurnwtbB'      # those that EVBUS_DISK_FAULT counts
FOLDER = object()
STYLES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)   # how likely a file keeps the next change

Record = namedtuple('Record', 'kind file number path data')


def environment(folder, program=None, log=None, fault=None, switch=None, sync=True, bad=None):
    """What to set for a program (its path) whose disk is the folder; see disk.h."""
    settings = {'LD_PRELOAD': preload('disk', program), 'EVBUS_DISK_FOLDER': folder, 'EVBUS_DISK_LOG': log,
                'EVBUS_DISK_FAULT': fault, 'EVBUS_DISK_SWITCH': switch, 'EVBUS_DISK_NO_SYNC': None if sync else '1',
                'EVBUS_DISK_BAD': bad}
    return {name: str(value) for name, value in settings.items() if value is not None}


def read_log(path):
    """The records; one that a kill has cut off is left out."""
    text = pathlib.Path(path).read_bytes()
    records = []
    position = 0
    while position + HEAD.size <= len(text):
        kind, path_size, file, number, size = HEAD.unpack_from(text, position)
        position += HEAD.size
        end = position + path_size + size
        if end > len(text):
            break
        name = text[position:position + path_size].decode()
        records.append(Record(kind.decode(), file, number, name, text[position + path_size:end]))
        position = end
    return records


def count_operations(records):
    return sum(record.kind in OPERATIONS for record in records)


def snapshot(folder):
    """{path: bytes, or FOLDER}"""
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): FOLDER if path.is_dir() else path.read_bytes()
            for path in sorted(folder.rglob('*'))}


class File:
    """One file: what is durable of it, and what has been done to it since."""

    def __init__(self, content=b''):
        self.durable = bytearray(content)
        self.cache = bytearray(content)      # as the program reads it
        self.sectors = {}                    # number: [[index, offset in it, data, failed]]
        self.sizes = []                      # [index, size]

    def write(self, index, offset, data):
        end = offset + len(data)
        if end > len(self.cache):
            self.cache.extend(bytes(end - len(self.cache)))
            self.sizes.append((index, end))
        self.cache[offset:end] = data
        while offset < end:
            start = offset % SECTOR
            piece = data[:SECTOR - start]
            self.sectors.setdefault(offset // SECTOR, []).append([index, start, piece, False])
            data = data[len(piece):]
            offset += len(piece)

    def resize(self, index, size):
        if size < len(self.cache):
            del self.cache[size:]
        else:
            self.cache.extend(bytes(size - len(self.cache)))
        self.sizes.append((index, size))

    def sync(self, begin):
        """What was done before the record `begin` is durable, but for pages that
        nobody has written since a sync of theirs failed."""
        dirty = {sector * SECTOR // PAGE for sector, pieces in self.sectors.items()
                 if any(piece[0] < begin and not piece[3] for piece in pieces)}
        ready = {}
        for sector in list(self.sectors):
            if sector * SECTOR // PAGE in dirty:
                ready[sector] = [piece for piece in self.sectors[sector] if piece[0] < begin]
                rest = [piece for piece in self.sectors[sector] if piece[0] >= begin]
                if rest:
                    self.sectors[sector] = rest
                else:
                    del self.sectors[sector]
        sizes = [size for size in self.sizes if size[0] < begin]
        self.sizes = [size for size in self.sizes if size[0] >= begin]
        self.durable = apply(self.durable, ready, sizes)

    def sync_failed(self, begin):
        for pieces in self.sectors.values():
            for piece in pieces:
                piece[3] = piece[3] or piece[0] < begin

    def image(self, rng):
        style = rng.choice(STYLES)
        n_sizes = 0
        while n_sizes < len(self.sizes) and rng.random() < style:
            n_sizes += 1
        kept = {}
        for sector, pieces in sorted(self.sectors.items()):
            # What was written after the file was cut is on blocks that are new
            # with the cut: it is not there without it.
            lost = min((index for index, size in self.sizes[n_sizes:] if size <= sector * SECTOR + pieces[0][1]),
                       default=None)
            kept[sector] = []
            for piece in pieces:
                if rng.random() >= style or (lost is not None and piece[0] > lost):
                    break
                kept[sector].append(piece)
        return apply(self.durable, kept, self.sizes[:n_sizes])


def apply(content, sectors, sizes):
    """content with these pieces and sizes, in the order in which they were made."""
    content = bytearray(content)
    size = len(content)
    changes = [(piece[0], sector * SECTOR + piece[1], piece[2]) for sector, pieces in sectors.items()
               for piece in pieces]
    changes += [(index, new, None) for index, new in sizes]
    for _index, position, data in sorted(changes, key=lambda change: (change[0], change[1])):
        if data is None:
            size = position
            del content[size:]
        else:
            if position + len(data) > len(content):
                content.extend(bytes(position + len(data) - len(content)))
            content[position:position + len(data)] = data
    del content[size:]
    content.extend(bytes(size - len(content)))
    return content


def parent(path):
    return path.rpartition('/')[0]


class Disk:
    """The folder, as far as the log was replayed."""

    def __init__(self, records, base=None):
        self.records = records
        self.position = 0
        self.durable = {path: content if content is FOLDER else File(content)
                        for path, content in (base or {}).items()}
        self.names = dict(self.durable)      # as the program sees them
        self.changes = []                    # (index, {path: File, FOLDER or None})
        self.files = {}                      # file number: File
        self.syncs = {}                      # number: (index, File or folder)
        self.answers = []                    # bytes

    def replay(self, until=None):
        until = len(self.records) if until is None else until
        while self.position < until:
            record = self.records[self.position]
            KINDS[record.kind](self, self.position, record)
            self.position += 1
        return self

    def _open(self, _index, record):
        self.files[record.file] = self.names[record.path]

    def _create(self, index, record):
        self.files[record.file] = File()
        self._change(index, {record.path: self.files[record.file]})

    def _mkdir(self, index, record):
        self._change(index, {record.path: FOLDER})

    def _unlink(self, index, record):
        self._change(index, {record.path: None})

    def _rename(self, index, record):
        old, new = record.path.split('\0')
        if self.names[old] is FOLDER or parent(old) != parent(new):
            raise NotImplementedError(f'a rename of {old} to {new}')
        self._change(index, {old: None, new: self.names[old]})

    def _change(self, index, change):
        self.changes.append((index, change))
        put_names(self.names, change)

    def _write(self, index, record):
        self.files[record.file].write(index, record.number, record.data)

    def _resize(self, index, record):
        self.files[record.file].resize(index, record.number)

    def _sync_begins(self, index, record):
        self.syncs[record.number] = index, self.files[record.file]

    def _folder_sync_begins(self, index, record):
        self.syncs[record.number] = index, record.path

    def _sync_ended(self, _index, record):
        begin, what = self.syncs.pop(record.number)
        if isinstance(what, File):
            what.sync(begin)
            return
        for change in [change for change in self.changes
                       if change[0] < begin and parent(next(iter(change[1]))) == what]:
            put_names(self.durable, change[1])
            self.changes.remove(change)

    def _sync_failed(self, _index, record):
        begin, what = self.syncs.pop(record.number)
        if isinstance(what, File):
            what.sync_failed(begin)

    def _answer(self, _index, record):
        self.answers.append(record.data)

    def _nothing(self, _index, _record):
        pass

    def check(self, folder):
        """Fails if the program has changed the folder past the log."""
        mine = {path: what if what is FOLDER else bytes(what.cache) for path, what in self.names.items()}
        theirs = snapshot(folder)
        assert sorted(mine) == sorted(theirs), f'the log says {sorted(mine)}, the folder {sorted(theirs)}'
        for path, content in mine.items():
            assert path.endswith('-shm') or content == theirs[path], f'{path} is not what the log says'

    def image(self, seed, target):
        """Makes the folder `target` as the cut number `seed` leaves it."""
        rng = random.Random(seed)
        names = dict(self.durable)
        style = rng.choice(STYLES)
        lost = set()
        for _index, change in self.changes:
            if rng.random() < style and not lost.intersection(change):
                put_names(names, change)
            else:
                lost.update(change)
        target = pathlib.Path(target)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700, parents=True)
        for path, what in sorted(names.items()):
            self._make(rng, names, target, path, what)

    @staticmethod
    def _make(rng, names, target, path, what):
        folder = parent(path)
        while folder:
            if names.get(folder) is not FOLDER:
                return
            folder = parent(folder)
        if what is FOLDER:
            (target / path).mkdir(mode=0o700)
            return
        content = what.image(rng)
        if path.endswith('-shm'):            # written through a mapping: whatever
            content = rng.randbytes(len(content))
        (target / path).write_bytes(content)
        (target / path).chmod(0o600)


def put_names(names, change):
    for path, what in change.items():
        if what is None:
            names.pop(path, None)
        else:
            names[path] = what


KINDS = {
    'o': Disk._open, 'c': Disk._create, 'm': Disk._mkdir, 'u': Disk._unlink, 'r': Disk._rename,
    'w': Disk._write, 't': Disk._resize, 'b': Disk._sync_begins, 'B': Disk._folder_sync_begins,
    'e': Disk._sync_ended, 'f': Disk._sync_failed, 'a': Disk._answer, 'n': Disk._nothing,
}
