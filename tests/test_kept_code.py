"""What a worker has compiled, the next one in its place finds; nothing else does."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys

import pytest

from backends import jax_backend, keras_jax_backend, keras_torch_backend, torch_backend
from benchmarks.cases import Case, parse_shape
from benchmarks.harness.session import Session, usual_workers
from tests.processes import ROOT

CASE = Case(name="tiny", shape=parse_shape("t=4 n=1 h=4"))


@contextlib.contextmanager
def jax_session():
    """A session with a JAX worker that has said hello, and the oracle's answer in a file."""
    with Session(usual_workers(["jax"]), keeps=True) as session:
        session.launch()
        assert session.greetings()["jax"].status == "ok"
        session.oracle(60, case=CASE.to_dict(), seed=1, file=str(session.folder / "oracle.npz"), only_expected=False)
        yield session


def first_call_cache(session):
    """What the worker says of the first call of a cell."""
    fields = {"case": CASE.to_dict(), "implementation": "jax/naive-jit", "device": "cpu", "seed": 1}
    answer = session.ask("jax", "prepare", 60, cell="it", expected=str(session.folder / "oracle.npz"), **fields)
    assert answer["status"] == "ok", answer["reason"]
    return answer["first_call_cache"]


def test_the_next_process_of_a_run_finds_compiled_code_and_the_next_run_does_not():
    """The first call of a run is cold, whatever ran before."""
    for _run in range(2):
        with jax_session() as session:
            assert first_call_cache(session) == ""
            session.launch()
            session.greetings()
            assert first_call_cache(session) == "hit"
    assert not session.folder.exists()


def test_a_worker_in_place_of_one_that_died_finds_its_code():
    """It is started in the same place."""
    with jax_session() as session:
        assert first_call_cache(session) == ""
        session.restart("jax")
        assert first_call_cache(session) == "hit"


@pytest.mark.parametrize("change", ["asked for nothing", "another checkout"])
def test_elsewhere_nothing_is_kept(tmp_path, change):
    """A worker of another checkout may not know how, and then neither side may."""
    specs = usual_workers(["jax"])
    if change == "another checkout":
        specs = [*specs, dataclasses.replace(specs[0], name="theirs", root=tmp_path)]
    with Session(specs, keeps=change != "asked for nothing") as session:
        assert session._hello("jax") == {}


def test_each_worker_has_a_folder_of_its_own():
    """Side B of `ab` must not find what side A has compiled."""
    first = usual_workers(["jax"])[0]
    with Session([first, dataclasses.replace(first, name="jax-b")], keeps=True) as session:
        folders = {session._hello(name)["keep"] for name in ("jax", "jax-b")}
        assert len(folders) == 2


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("JAX_COMPILATION_CACHE_DIR", "theirs", "theirs"),
        ("JAX_ENABLE_COMPILATION_CACHE", "0", "None"),
        ("JAX_LOG_COMPILES", "0", "ours"),
    ],
)
def test_what_the_user_has_set_up_stays(tmp_path, variable, value, wanted):
    """A folder of his own, or none at all; the last variable says nothing of it."""
    code = "import sys; from backends import jax_backend as it; it.load(); it.keep_compiled(sys.argv[1]); "
    code += "print(it.jax.config.jax_compilation_cache_dir)"
    words = [sys.executable, "-c", code, "ours"]
    environment = {**os.environ, variable: value}
    found = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == wanted


@pytest.mark.parametrize(
    ("keras", "host"), [(keras_jax_backend, jax_backend), (keras_torch_backend, torch_backend)], ids=["jax", "torch"]
)
@pytest.mark.parametrize("name", ["watch", "free_bytes", "planned_bytes", "keep_compiled", "taken_from_disk"])
def test_keras_offers_what_its_backend_does(keras, host, name):
    """It is the same framework that compiles."""
    assert getattr(keras, name, None) is getattr(host, name, None)
