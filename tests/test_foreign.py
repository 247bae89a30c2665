"""Reading is bounded: in what is opened, how large it is, how long it takes and how much memory it takes."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import time
import tracemalloc
from pathlib import Path

import pytest

from benchmarks import foreign
from benchmarks.blocks import read_blocks
from benchmarks.comparison.readers import read_side
from benchmarks.comparison.thresholds import read_overrides
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import csv_header, csv_rows, parse_json, read_bytes, read_text
from benchmarks.records import COLUMNS, from_csv, to_csv
from tests.helpers import ROOT
from tests.planted import record, write_run

MB = 2**20
_SAMPLES = b"case,implementation,device,pass,process,block,order,calls,seconds,canary_s\n"
_ROW = b",".join({"schema_version": b"1", "status": b"error", "reason": b"x"}.get(c, b"") for c in COLUMNS)
_SMALL_ROW = _ROW.replace(b",,,,,,", b",1,1,1,1,1,", 1) + b"\n"


def refused(act, *words):
    """UnreadableResults on one line that holds the words."""
    __tracebackhide__ = True
    with pytest.raises(UnreadableResults) as caught:
        act()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert "cannot be read" not in str(caught.value) or "expected" not in str(caught.value), "told twice"


# What is opened.


def test_a_folder_a_pipe_a_socket_and_a_device(tmp_path):
    """None of them is waited for, or read without end."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
    refused(lambda: read_bytes(tmp_path), "is a folder, expected a file")
    refused(lambda: read_bytes(tmp_path / "pipe"), "is a pipe, a socket or a device")
    refused(lambda: read_bytes(tmp_path / "socket"), "cannot be read")
    for device in ("/dev/zero", "/dev/tty", "/dev/full"):
        if Path(device).exists():
            refused(lambda device=device: read_bytes(Path(device)), device)
    refused(lambda: read_bytes(tmp_path / "a\0b"), "is no name of a file")


@pytest.mark.parametrize("name", ["summary.csv", "samples.csv", "environment.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "zero"])
def test_in_place_of_a_file_of_a_run(tmp_path, name, kind):
    """A run folder that a stranger has packed: one line for each."""
    run = write_run(tmp_path / "run")
    (run / name).unlink()
    {
        "pipe": lambda: os.mkfifo(run / name),
        "folder": (run / name).mkdir,
        "loop": lambda: (run / name).symlink_to(name),
        "zero": lambda: (run / name).symlink_to("/dev/zero"),
    }[kind]()
    if kind == "loop" and name != "summary.csv":  # a link to itself is no file that exists
        return
    refused(lambda: read_side(run), name)


def test_links_are_followed(tmp_path):
    """A baseline may be a link."""
    run = write_run(tmp_path / "run")
    (tmp_path / "baseline").symlink_to(run)
    assert read_side(tmp_path / "baseline").records == read_side(run).records


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b"schema_version", mtime=0), "it looks like gzip: unpack it first"),
        ("schema_version,case\n".encode("utf-16"), "it looks like UTF-16"),
        ("schema_version,case\né\n".encode("latin-1"), "byte 20 is not UTF-8"),
        (b"\xed\xa0\x80", "byte 0 is not UTF-8"),
    ],
)
def test_what_is_no_text(tmp_path, data, says):
    """Compressed, of another encoding, half a character."""
    file = tmp_path / "summary.csv"
    file.write_bytes(data)
    refused(lambda: read_text(file), "summary.csv is no text", says)
    refused(lambda: read_side(file), "summary.csv is no text", says)


def test_what_excel_has_saved(tmp_path):
    """A byte-order mark and CRLF change nothing."""
    run = write_run(tmp_path / "run")
    expected = read_side(run)
    for name in ("summary.csv", "samples.csv"):
        file = run / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    found = read_side(run)
    assert found.records == expected.records
    assert found.logs == expected.logs


# How large, how long, how much.


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    """By its size, before anything is read: a sparse terabyte takes no time."""
    file = tmp_path / "environment.json"
    with file.open("wb") as stream:
        stream.truncate(2**40)
    refused(lambda: read_bytes(file), "1,099,511,627,776 bytes large")
    refused(lambda: read_text(file, 100), "expected at most 100")


def peak_of(act):
    """Bytes of memory at the peak of an action that may end in one line."""
    tracemalloc.start()
    try:
        act()
    except UnreadableResults:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


BOMBS = {
    "empty objects": (parse_json, b"[" + b"{}," * MB + b"{}]"),
    "empty lists": (parse_json, b"[" + b"[]," * MB + b"[]]"),
    "small objects": (parse_json, b"[" + b'{"a":1},' * (MB // 2) + b"1]"),
    "one wide character": (parse_json, b'["' + b"a" * (4 * MB) + "\U0001f600".encode() + b'"]'),
    "a row of commas": (from_csv, b"schema_version" + b"," * (4 * MB) + b"\n"),
    "two million small rows": (from_csv, b"schema_version,a\n" + b"1,\n" * (2 * MB)),
    "records of nothing": (from_csv, (",".join(COLUMNS) + "\n").encode() + _SMALL_ROW * (MB // 8)),
    "blocks of nothing": (read_blocks, _SAMPLES + b",,,,0,0,0,1,1,1\n" * MB),
    "one field": (from_csv, b'schema_version,"' + b"a" * (8 * MB)),
    "a row of many lines": (from_csv, b"schema_version\n" + b'"\na",' * MB),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_stays_within_four_times_the_file(bomb, monkeypatch):
    """Four times the size and a constant, here 16 MiB instead of 128, so that files of some MiB show it."""
    monkeypatch.setattr(foreign, "ALLOWANCE_BYTES", 16 * MB)
    reader, data = BOMBS[bomb]
    given = (lambda: reader(data.decode(), "it")) if reader is parse_json else (lambda: reader(data, "it"))
    peak = peak_of(given)
    assert peak <= 4 * len(data) + 16 * MB, f"{peak / MB:.0f} MiB for {len(data) / MB:.1f}"


def test_results_of_any_length_are_no_bomb(monkeypatch):
    """What this program writes is within four times its size without any allowance: then it is at any length."""
    monkeypatch.setattr(foreign, "ALLOWANCE_BYTES", 0)
    for name in ("smoke", "default"):
        run = ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores" / name
        assert len(from_csv((run / "summary.csv").read_bytes(), "it")) > 10
        assert len(read_blocks((run / "samples.csv").read_bytes(), "it")) > 100


@pytest.mark.parametrize(
    "act",
    [
        lambda: csv_header(b",".join(b"%d" % n for n in range(100_000)) + b",7\n", "it", "table"),
        lambda: list(csv_rows(b'"' * MB + b"\n", "it")),
        lambda: list(csv_rows((b'"' + b"x" * 1000 + b"\n") * 20_000, "it")),
        lambda: list(csv_rows(b"\n" * MB, "it")),
        lambda: parse_json("[" * MB, "it"),
        lambda: parse_json('{"a":' * MB, "it"),
        lambda: parse_json("9" * MB, "it"),
        lambda: from_csv(to_csv([record()]).replace("0.001", "9" * 100_000), "it"),
    ],
)
def test_nothing_takes_the_square_of_a_length(act):
    """Each of these took from minutes to days, or would, where it was read carelessly."""
    start = time.process_time()
    with contextlib.suppress(UnreadableResults):
        act()
    assert time.process_time() - start < 20


def test_thresholds_of_many_parts(tmp_path):
    """Tomllib takes the square of the length for a.a.a.a: such lines are not given to it."""
    file = tmp_path / "thresholds.toml"
    file.write_text("a" + ".a" * 100_000 + " = 1\n")
    refused(lambda: read_overrides(file), "a line of more than 300 characters")
    file.write_text("x = 1\n" * 100_000)
    refused(lambda: read_overrides(file), "expected at most")
    lines = "".join(f"k{n}{'.a' * 140} = 1\n" for n in range(900))
    file.write_text(lines)
    assert file.stat().st_size > 2**18 - 5000
    start = time.process_time()
    refused(lambda: read_overrides(file), "thresholds.toml: k0, k1")
    assert time.process_time() - start < 20


def test_a_message_stays_short():
    """However much a file says."""
    refused(lambda: from_csv(to_csv([record()]).replace(",ok,", f",{'x' * 100_000},"), "it"), "expected Status")
    assert len(str(UnreadableResults("x" * 10_000))) == 1000
