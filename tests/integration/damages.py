# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can have become of a file: each takes a random.Random and the content."""

PAGE = 4096


def truncate(rng, content):
    return content[:rng.randrange(len(content) + 1)]


def flip(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 8, 100))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def overwrite(rng, content):
    """A page, by nothing, by noise, or by another page."""
    start = rng.randrange(max(len(content) // PAGE, 1)) * PAGE
    other = rng.randrange(max(len(content) // PAGE, 1)) * PAGE
    page = rng.choice((bytes(PAGE), rng.randbytes(PAGE), content[other:other + PAGE]))
    return content[:start] + page + content[start + PAGE:]


def garble_header(rng, content):
    """But for our version: it may be that of a newer evbus then, and is left alone."""
    content = bytearray(content)
    for _ in range(3):
        content[rng.choice((*range(60), *range(64, 100)))] = rng.randrange(256)
    return content


def make_foreign(rng, content):
    return rng.choice((b'', b'not a database\n' * 1000, rng.randbytes(10000), bytes(len(content))))


DAMAGES = (truncate, flip, overwrite, garble_header, make_foreign)


def damage_one(rng, damage, folder):
    """One of the files that the database in the folder is; returns which."""
    files = [path for path in sorted(folder.iterdir())
             if path.name.startswith('spool.db') and not path.name.endswith('-shm') and path.stat().st_size > 0]
    victim = rng.choice(files)
    victim.write_bytes(damage(rng, victim.read_bytes()))
    return victim
