# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disk of the crash tests (disk.py, ../support/disk) itself: it takes from a
program what that has not synced, and nothing else, and fails where it is told
to. The programs here are lines of Python."""

import os
import signal
import sqlite3
import subprocess

import pytest

import disk

SEEDS = range(60)
PREAMBLE = '''
import os, sqlite3, sys
os.chdir(sys.argv[1])
def put(name, data, offset=0, flags=0):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | flags, 0o600)
    os.pwrite(fd, data, offset)
    return fd
def sync_folder():
    os.fsync(os.open('.', os.O_RDONLY))
def say(text):
    os.write(1, text.encode() + b'\\n')
'''
A, B = b'a' * 1024, b'b' * 1024


@pytest.fixture
def run(folder):
    """run(LINES) runs them below the shim; returns the Disk, at the log's start."""
    root = folder / 'disk'
    root.mkdir()
    logs = []

    def run(lines, status=0, **settings):
        base = disk.snapshot(root)
        log = folder / f'log-{len(logs)}'
        logs.append(log)
        done = subprocess.run(['/usr/bin/python3', '-c', PREAMBLE + lines, str(root)], capture_output=True, text=True,
                              env={**os.environ, **disk.environment(root, log=log, **settings)}, check=False)
        assert done.returncode == status, done.stderr
        return disk.Disk(disk.read_log(log), base)

    run.root = root
    return run


def images(mine, folder):
    """The folder after each of the cuts, as snapshots."""
    for seed in SEEDS:
        mine.image(seed, folder / 'image')
        yield disk.snapshot(folder / 'image')


def test_what_was_synced_is_kept(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder()").replay()
    mine.check(run.root)
    assert all(image == {'f': A} for image in images(mine, folder))


def test_what_was_not_synced_is_kept_in_part(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder(); os.pwrite(fd, {B}, 0)").replay()
    mine.check(run.root)
    assert {image['f'] for image in images(mine, folder)} == {A, B, A[:512] + B[:512], B[:512] + A[:512]}


def test_a_sector_goes_through_its_states_in_turn(run, folder):
    mine = run("fd = put('f', bytes(512)); os.fsync(fd); sync_folder()\n"
               "os.pwrite(fd, b'1', 0); os.pwrite(fd, b'2', 1)").replay()
    assert {image['f'][:2] for image in images(mine, folder)} == {b'\0\0', b'1\0', b'12'}


def test_the_size_is_kept_or_lost(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder(); os.pwrite(fd, {B}, 1024); os.ftruncate(fd, 512)").replay()
    mine.check(run.root)
    found = {image['f'] for image in images(mine, folder)}
    assert {A, A[:512], A + B, A + bytes(1024)} <= found
    assert all(content[:512] == A[:512] for content in found)


def test_what_is_written_after_a_cut_needs_the_cut(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder(); os.ftruncate(fd, 0); os.pwrite(fd, {B}, 0)").replay()
    mine.check(run.root)
    found = {image['f'] for image in images(mine, folder)}
    assert A in found and B in found and b'' in found
    assert not any(b'a' in content and b'b' in content for content in found)


def test_a_name_needs_a_sync_of_its_folder(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); fd = put('g', {A}); os.fsync(fd)").replay()
    assert sorted(map(sorted, {tuple(image) for image in images(mine, folder)})) == [[], ['f'], ['f', 'g'], ['g']]


def test_a_folder_is_a_name_too(run, folder):
    made = "os.mkdir('d'); fd = put('d/f', b'x'); os.fsync(fd); os.fsync(os.open('d', os.O_RDONLY))"
    mine = run(made).replay()
    assert {tuple(image) for image in images(mine, folder)} == {(), ('d', 'd/f')}


def test_a_rename_is_whole_or_not_at_all(run, folder):
    before = f"fd = put('f', {A}); os.fsync(fd); sync_folder(); fd = put('new', {B}); "
    mine = run(before + "os.fsync(fd); os.rename('new', 'f')").replay()
    mine.check(run.root)
    assert {image['f'] for image in images(mine, folder)} == {A, B}


def test_a_rename_before_the_sync_loses_both(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder(); put('new', {B}); os.rename('new', 'f')").replay()
    assert {A, B, b''} <= {image['f'] for image in images(mine, folder)}


def test_an_unlink_is_kept_or_lost(run, folder):
    made = f"fd = put('f', {A}); os.fsync(fd); sync_folder(); os.unlink('f')"
    assert {tuple(image) for image in images(run(made).replay(), folder)} == {(), ('f',)}
    assert {tuple(image) for image in images(run(made + '; sync_folder()').replay(), folder)} == {()}


def test_a_failed_sync_keeps_nothing(run, folder):
    """Nor does the next one, of pages that nobody has written again."""
    lines = f'''
fd = put('f', {A}); os.fsync(fd); sync_folder(); os.pwrite(fd, {B}, 0)
try:
    os.fsync(fd)
    sys.exit(1)
except OSError:
    %s
os.fsync(fd)
'''
    assert len({image['f'] for image in images(run(lines % 'pass', fault='eio@3:sync').replay(), folder)}) > 1
    (run.root / 'f').unlink()
    again = run(lines % f'os.pwrite(fd, {B}, 0)', fault='eio@3:sync').replay()
    assert {image['f'] for image in images(again, folder)} == {B}


def test_a_sync_that_does_nothing(run, folder):
    mine = run(f"fd = put('f', {A}); os.fsync(fd); sync_folder()", sync=False).replay()
    assert {'f': A} in images(mine, folder) and {} in images(mine, folder)


def test_an_unseen_change_is_noticed(run):
    mine = run("import mmap; fd = put('f', bytes(4096)); m = mmap.mmap(fd, 4096); m[0] = 1; m.flush()").replay()
    with pytest.raises(AssertionError, match='f is not what the log says'):
        mine.check(run.root)


def test_killed_before_each_operation(run):
    lines = f"fd = put('f', {A}); os.fsync(fd); os.pwrite(fd, {B}, 0); os.rename('f', 'g'); os.ftruncate(fd, 3); os.unlink('g')"
    whole = run(lines)
    assert disk.count_operations(whole.records) == 7
    states = []
    for number in range(1, 8):
        mine = run(lines, -signal.SIGKILL, fault=f'kill@{number}').replay()
        assert disk.count_operations(mine.records) == number - 1
        mine.check(run.root)
        states.append(disk.snapshot(run.root))
        for path in run.root.iterdir():
            path.unlink()
    assert states == [{}, {'f': b''}, {'f': A}, {'f': A}, {'f': B}, {'g': B}, {'g': B[:3]}]


def test_a_torn_write(run):
    run(f"put('f', {A})", -signal.SIGKILL, fault='torn@2').replay().check(run.root)
    assert disk.snapshot(run.root) == {'f': A[:512]}


def test_no_space_until_the_switch(run, folder):
    switch = folder / 'full'
    switch.touch()
    run('''
def attempt(*arguments):
    try:
        os.pwrite(*arguments)
        say('yes')
    except OSError as error:
        say(os.strerror(error.errno))
fd = put('f', bytes(8192))
reserve = os.open('reserve', os.O_RDWR | os.O_CREAT, 0o600)
os.posix_fallocate(reserve, 0, 65536)
attempt(fd, b'x' * 4096, 8192)
attempt(fd, b'x' * 4096, 0)       # what is there can be written again
os.ftruncate(reserve, 0)          # what is given up can be used
attempt(fd, b'x' * 4096, 8192)
attempt(fd, b'x' * 65536, 12288)  # in part
attempt(fd, b'x', 100000)
os.unlink(%r)
attempt(fd, b'x', 100000)
''' % str(switch), fault='enospc@5', switch=switch)
    answers = b''.join(record.data for record in disk.read_log(folder / 'log-0') if record.kind == 'a').decode()
    assert answers.splitlines() == ['No space left on device', 'yes', 'yes', 'yes', 'No space left on device', 'yes']


SQLITE = '''
db = sqlite3.connect('db', isolation_level=None)
db.execute('PRAGMA journal_mode=WAL'); db.execute('PRAGMA synchronous=%s'); db.execute('PRAGMA wal_autocheckpoint=20')
db.execute('CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)')
for n in range(60):
    db.execute('INSERT INTO t VALUES (?, randomblob(?))', (n, n * 37))
    say(str(n))
'''


def lost_rows(mine, folder):
    """How many answers were lost, over cuts in every part of the log; a damaged
    database has lost one."""
    lost = 0
    for seed in SEEDS:
        mine.replay(len(mine.records) * (seed + 1) // len(SEEDS))
        mine.image(seed, folder / 'image')
        found = set()
        if (folder / 'image/db').exists():
            db = sqlite3.connect(folder / 'image/db')
            try:
                found = {row[0] for row in db.execute('SELECT n FROM t')}
                lost += db.execute('PRAGMA integrity_check').fetchone() != ('ok',)
            except sqlite3.DatabaseError:
                pass
            finally:
                db.close()
        lost += len({int(line) for line in b''.join(mine.answers).split()} - found)
    return lost


def test_sqlite_keeps_its_word(run, folder):
    mine = run(SQLITE % 'FULL')
    assert lost_rows(mine, folder) == 0
    mine.check(run.root)


def test_sqlite_without_syncs_loses(run, folder):
    assert lost_rows(run(SQLITE % 'OFF'), folder) > 0
