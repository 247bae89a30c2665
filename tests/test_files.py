"""What is written stays in its folder: links and pipes that a stranger has packed lead nowhere, and hold nobody up."""

from __future__ import annotations

import os

import pytest

from benchmarks.errors import UsageError
from benchmarks.files import PART, append_to_own, own_folder, write_atomically
from benchmarks.harness.process import Worker, WorkerFailed, WorkerSpec
from benchmarks.harness.state import State
from benchmarks.measure import measure, remove_if_empty
from benchmarks.run_folder import RunFolder
from tests.test_run_folder import PLAN


@pytest.fixture
def other(tmp_path):
    """A file of somebody's own, beside the folder."""
    file = tmp_path / "other"
    file.write_text("mine")
    return file


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", ["summary.csv", f"summary.csv{PART}"])
def test_files_of_a_run_replace_what_stands_in_their_place(tmp_path, other, kind, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(other) if kind == "link" else os.mkfifo(folder / name)
    write_atomically(folder / "summary.csv", "new", is_own=True)
    assert ((folder / "summary.csv").read_text(), other.read_text()) == ("new", "mine")
    assert [path.name for path in folder.iterdir()] == ["summary.csv"]


def test_a_part_is_no_way_out_for_what_users_name_either(tmp_path, other):
    (tmp_path / f"x.csv{PART}").symlink_to(other)
    write_atomically(tmp_path / "x.csv", "new")
    assert ((tmp_path / "x.csv").read_text(), other.read_text()) == ("new", "mine")


def test_what_a_user_names_may_be_a_pipe(tmp_path):
    """As in --csv /dev/stdout."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_logs_are_not_written_elsewhere(tmp_path, other, kind):
    """A worker whose log is a link or a pipe does not start, and nobody waits."""
    log = tmp_path / "torch.log"
    log.symlink_to(other) if kind == "link" else os.mkfifo(log)
    with pytest.raises(OSError, match=r"symbolic links|No such device"):
        append_to_own(log)
    with pytest.raises(WorkerFailed):
        Worker(WorkerSpec(name="a", framework="numpy"), log)
    assert other.read_text() == "mine"


def test_a_folder_of_logs_that_leads_elsewhere_is_refused_and_not_emptied(tmp_path):
    """Neither are logs written there, nor does what is there go where nothing was measured."""
    elsewhere = tmp_path / "documents"
    elsewhere.mkdir()
    (elsewhere / "letter").write_text("mine")
    folder = RunFolder.create(tmp_path / "run", PLAN)
    (folder.path / "logs").symlink_to(elsewhere)
    with pytest.raises(OSError, match="leads elsewhere"):
        own_folder(folder.path / "logs")
    with pytest.raises(UsageError, match="cannot write to"):
        measure(PLAN, folder, State(), lambda event: None)
    folder.close()
    remove_if_empty(folder.path)
    assert (elsewhere / "letter").read_text() == "mine"
    assert [path.name for path in elsewhere.iterdir()] == ["letter"]
