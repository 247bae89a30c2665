"""A seed with something wrong in it: what a fuzzer would do, without what it knows of the code."""

from __future__ import annotations

import random
import re

HOSTILE: tuple[bytes, ...] = (
    b"", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\r", b"\r\n", b"\n\n", b'"', b'""""',
    b"'", b",", b",,,,,,,,", b"NaN", b"nan", b"Infinity", b"-Infinity", b"inf", b"1e999", b"1e-999", b"1e308", b"-0", b"-1",
    b"0", b"0.0", b"1_0", b"\xd9\xa3", b"\xc2\xb2", b"9" * 30, b"9" * 5000, b"1" + b"0" * 400, b"0x10", b"true", b"null", b"[]",
    b"{}", b"[[[[[[[[",
    b"[" * 3000, b'{"a":' * 2000, b"=1+1", b"@x", b"\x1b[31m", b"\x1b]0;x\x07", b"\xe2\x80\xae", b"::error::x",
    b"%0A", b"<script>", b"`|", b"../../x", b"$(touch x)", b"__class__", b"__init__", b"-9223372036854775809",
    b"18446744073709551616", b"5%", b"20us", b"module:os",
)  # fmt: skip
_VALUES = (b"null", b"[]", b"{}", b"true", b"-1", b"NaN", b"1e999", b'"x"', b"[1]", b"9" * 5000)
_TOKEN = re.compile(rb'[^,:\s\[\]{}"]+')


def mutate(rng: random.Random, seed: bytes) -> bytes:
    """One to four changes."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(rng, data)
    return bytes(data)


def _replace_token(rng: random.Random, data: bytearray) -> None:
    """A number or a word by something that no one expects there."""
    found = list(_TOKEN.finditer(data))
    if found:
        place = rng.choice(found)
        data[place.start() : place.end()] = rng.choice(HOSTILE)


def _replace_value(rng: random.Random, data: bytearray) -> None:
    """A value of JSON, with its quotes, by one of another kind."""
    found = list(re.finditer(rb'(?<=: )("[^"]*"|[^\s,\]}]+)', data))
    if found:
        place = rng.choice(found)
        data[place.start() : place.end()] = rng.choice(
            (b"null", b"[]", b"{}", b"true", b"-1", b"NaN", b"1e999", b'"x"', b"[1]", b"9" * 5000)
        )


def _put_in(rng: random.Random, data: bytearray) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.choice(HOSTILE)


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randint(0, len(data)) :]


def _take_out(rng: random.Random, data: bytearray) -> None:
    place = rng.randint(0, len(data))
    del data[place : place + rng.randint(1, 40)]


def _repeat(rng: random.Random, data: bytearray) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = bytes(data[place : place + rng.randint(1, 200)]) * rng.choice((1, 2, 50))


def _swap_lines(rng: random.Random, data: bytearray) -> None:
    lines = bytes(data).split(b"\n")
    rng.shuffle(lines)
    data[:] = b"\n".join(lines)


_CHANGES = (
    _replace_token, _replace_token, _replace_token, _replace_value, _put_in, _flip, _cut, _take_out, _repeat, _swap_lines,
)  # fmt: skip
