# SPDX-License-Identifier: LGPL-2.1-or-later

"""Python's json is the judge of the serializer `json` and of the JSON check."""

import json
import math
import random
import struct

import gi
import pytest

gi.require_version("Evbus", "1")
from gi.repository import Evbus, GLib  # noqa: E402

SEED = 20220101
STRINGS = ["", "plain", "a longer string without anything special", 'quote " and \\ slash /',
           "\x01\x1f\x7f\n\r\t\b\f", "Grüße 世界 😀 \u2028\ufeff", "\U0010ffff"]
INTEGERS = {"y": (0, 2**8 - 1), "n": (-2**15, 2**15 - 1), "q": (0, 2**16 - 1), "i": (-2**31, 2**31 - 1),
            "u": (0, 2**32 - 1), "x": (-2**63, 2**63 - 1), "t": (0, 2**64 - 1)}


@pytest.fixture
def to_json():
    serializer = Evbus.Serializer.lookup("json")
    assert serializer.get_content_type() == "application/json"
    return lambda body: serializer.to_bytes(body).get_data().decode("utf-8")


def random_double(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return round(rng.uniform(-1e6, 1e6), rng.randrange(6))
    if kind == 1:
        return float(rng.randint(-2**60, 2**60))
    if kind == 2:
        return math.ldexp(1.0, rng.randint(-1074, 1023))
    while True:
        value = struct.unpack("d", rng.getrandbits(64).to_bytes(8, "little"))[0]
        if math.isfinite(value):
            return value


def random_type(rng, depth):
    letters = "bynqiuxtdsogv" if depth > 0 else "bynqiuxtdsog"
    kind = rng.randrange(10) if depth > 0 else 0
    if kind < 5:
        return rng.choice(letters)
    if kind == 5:
        return "m" + random_type(rng, depth - 1)
    if kind == 6:
        return "(" + "".join(random_type(rng, depth - 1) for _ in range(rng.randrange(4))) + ")"
    if kind == 7:
        return "a{" + rng.choice("sbyxtd") + random_type(rng, depth - 1) + "}"
    return "a" + random_type(rng, depth - 1)


def end_of_type(text, start):
    if text[start] in "am":
        return end_of_type(text, start + 1)
    if text[start] in "({":
        start += 1
        while text[start] not in ")}":
            start = end_of_type(text, start)
    return start + 1


def members_of(text):
    members, start = [], 1
    while text[start] not in ")}":
        end = end_of_type(text, start)
        members.append(text[start:end])
        start = end
    return members


def make_basic(rng, letter):
    if letter == "b":
        value = rng.random() < 0.5
    elif letter == "d":
        value = random_double(rng)
    elif letter == "o":
        value = rng.choice(["/", "/org/evbus1/a_b"])
    elif letter == "g":
        value = rng.choice(["", "a{sv}"])
    elif letter == "s":
        value = rng.choice(STRINGS) + rng.choice(STRINGS)
    else:
        low, high = INTEGERS[letter]
        value = rng.choice([low, high, rng.randint(low, high), min(7, high)])
    return GLib.Variant(letter, value), value


def key_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else value


def make_dictionary(rng, text, depth):
    key_type, value_type = members_of(text[1:])
    entries, expected = [], {}
    for _ in range(rng.randrange(5)):
        key, plain = make_basic(rng, key_type)
        if plain in expected:
            continue
        value, expected[plain] = make(rng, value_type, depth)
        entries.append(GLib.Variant.new_dict_entry(key, value))
    return GLib.Variant.new_array(GLib.VariantType(text[1:]), entries), ("object", expected)


def make(rng, text, depth):
    """A random value of the type, and what a reader of its JSON is to see."""
    if text == "v":
        value, expected = make(rng, random_type(rng, depth - 1) if depth > 0 else "s", depth - 1)
        return GLib.Variant.new_variant(value), expected
    if text[0] == "m":
        if rng.random() < 0.3:
            return GLib.Variant.new_maybe(GLib.VariantType(text[1:]), None), None
        value, expected = make(rng, text[1:], depth)
        return GLib.Variant.new_maybe(None, value), expected
    if text[0] == "(":
        pairs = [make(rng, member, depth) for member in members_of(text)]
        return GLib.Variant.new_tuple(*[p[0] for p in pairs]), [p[1] for p in pairs]
    if text.startswith("a{"):
        return make_dictionary(rng, text, depth)
    if text[0] == "a":
        pairs = [make(rng, text[1:], depth) for _ in range(rng.randrange(5))]
        return (GLib.Variant.new_array(GLib.VariantType(text[1:]), [p[0] for p in pairs]),
                [p[1] for p in pairs])
    return make_basic(rng, text)


def read_key(found, like):
    if isinstance(like, bool):
        return {"true": True, "false": False}[found]
    return type(like)(found)


def assert_equal(found, expected):
    if isinstance(expected, tuple):
        members = expected[1]
        assert isinstance(found, dict) and len(found) == len(members)
        for (key, value), (plain, wanted) in zip(found.items(), members.items()):
            assert_equal(read_key(key, plain), plain)
            assert_equal(value, wanted)
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected)
        for value, wanted in zip(found, expected):
            assert_equal(value, wanted)
    else:
        assert type(found) is type(expected)
        assert found == expected
        if isinstance(expected, float):
            assert struct.pack("d", found) == struct.pack("d", expected)


def flat(value):
    data = value.get_data_as_bytes()
    return GLib.Variant.new_from_bytes(value.get_type(), data, False) if data.get_size() else value


@pytest.mark.parametrize("part", range(4))
def test_random_values_read_back_equal(to_json, part):
    rng = random.Random(SEED + part)
    for _ in range(1500):
        value, expected = make(rng, random_type(rng, 4), 4)
        text = to_json(value)
        assert "\n" not in text
        assert_equal(json.loads(text), expected)
        assert to_json(flat(value)) == text


def test_doubles_are_the_shortest(to_json):
    rng = random.Random(SEED)
    for _ in range(20000):
        value = random_double(rng)
        text = to_json(GLib.Variant("d", value))
        assert struct.pack("d", float(text)) == struct.pack("d", value)

        def digits(number):
            return len(number.lower().split("e")[0].replace(".", "").replace("-", "").strip("0"))
        assert digits(text) <= digits(repr(value)), f"{text} for {value!r}"


def refuse(_constant):
    raise ValueError


def judge(data):
    try:
        json.loads(data.decode("utf-8"), parse_constant=refuse)
        return True
    except ValueError:
        return False


def check(data):
    try:
        return Evbus.json_validate(data)
    except GLib.Error as error:
        assert error.matches(GLib.quark_from_string("evbus-error-quark"), Evbus.Error.INVALID_BODY)
        return False


def test_the_check_agrees_with_python():
    rng = random.Random(SEED)
    documents = [b'{"id": 1, "a": [true, false, null], "s": "x\\n\\u00e9\\ud83d"}', b"[-0, 1.5e+10, 0.1E-2]",
                 '["Grüße", {"a": {}}, []]'.encode(), b' "x" ', b"-12.5", b"{}"]
    alphabet = b'{}[]:,"\\ \n\tu0123456789abcdefeE+-.truefalsn\x00\x1f\x7f\xc3\xa4\xff'
    outcomes = {True: 0, False: 0}
    for _ in range(40000):
        data = bytearray(rng.choice(documents))
        for _ in range(rng.randrange(3)):
            position = rng.randrange(len(data) + 1)
            change = rng.randrange(3)
            if change == 0:
                data[position:position + 1] = bytes([rng.choice(alphabet)])
            elif change == 1:
                data[position:position] = bytes([rng.choice(alphabet)])
            else:
                del data[position:position + 1]
        expected = judge(bytes(data))
        assert check(bytes(data)) == expected, bytes(data)
        outcomes[expected] += 1
    assert min(outcomes.values()) > 1000
