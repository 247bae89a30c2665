"""What docs/ci.md and the workflows promise: commands that exist, no rights for code that nobody has reviewed, nox's words."""

from __future__ import annotations

import importlib.util
import re

import pytest

from benchmarks.harness import environment
from tests.processes import ROOT, attnbench

WORKFLOWS = {file.name: file.read_text() for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
DOCS = (ROOT / "docs" / "ci.md").read_text()
COMMANDS = {
    (command, option)
    for text in (*WORKFLOWS.values(), DOCS)
    for command, words in re.findall(r"python -m benchmarks (\w+)((?:.|\n {10})*)", text)
    for option in re.findall(r"--[a-z][a-z-]+", words)
}


@pytest.mark.parametrize("command", sorted({command for command, _ in COMMANDS}))
def test_the_options_exist(command):
    """Every option that is shown with a command is in its help."""
    said = attnbench(command, "--help", environment={"COLUMNS": "200"}).stdout
    missing = [option for shown, option in sorted(COMMANDS) if shown == command and option not in said]
    assert not missing


def test_code_of_a_pull_request_gets_no_rights():
    """The job that runs it may only read; the one that may write checks nothing out and starts from the default branch."""
    runs, comments = WORKFLOWS["benchmark.yml"], WORKFLOWS["benchmark-comment.yml"]
    assert re.search(r"^  pull_request:", runs, re.MULTILINE)
    assert not re.search(r"^ *pull_request_target:", runs, re.MULTILINE)
    assert re.search(r"^permissions:\n  contents: read\n\n", runs, re.MULTILINE)
    assert ": write" not in runs
    assert "secrets." not in runs + comments
    assert "persist-credentials: false" in runs
    assert "checkout" not in re.sub(r"#.*", "", comments)
    assert re.search(r"^permissions: \{\}$", comments, re.MULTILINE)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_scripts_take_foreign_words_as_variables(name):
    """No expression stands inside a script, where a branch's name could become code; actions have a major version."""
    scripts = re.findall(r"^( +)(?:- )?run: ([^\n]*(?:\n\1 +[^\n]*)*)", WORKFLOWS[name], re.MULTILINE)
    assert scripts
    assert not [script for _, script in scripts if "${{" in script]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", used) for used in re.findall(r"uses: (\S+)", WORKFLOWS[name]))


@pytest.fixture(scope="module")
def noxfile():
    """The noxfile as a module."""
    pytest.importorskip("nox")
    spec = importlib.util.spec_from_file_location("attnbench_noxfile", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Session:
    """Stands in for nox's session; `error` raises as nox's does."""

    def __init__(self, *posargs):
        self.posargs = list(posargs)

    def error(self, message):
        raise RuntimeError(message)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["main"], ["--a-rev", "main"]),
        (["HEAD~2", "--suite", "decode"], ["--a-rev", "HEAD~2", "--suite", "decode"]),
        (["main@{1}"], ["--a-rev", "main@{1}"]),
        (
            ["torch==2.12.0", "torch==2.13.0"],
            ["--a-python", "torch==2.12.0", "--b-python", "torch==2.13.0", "--framework", "torch"],
        ),
        (
            ["jax==0.9", "jax>=0.10", "--quiet"],
            ["--a-python", "jax==0.9", "--b-python", "jax>=0.10", "--framework", "jax", "--quiet"],
        ),
    ],
)
def test_nox_ab_is_a_revision_or_two_requirements(noxfile, monkeypatch, words, given):
    """One word that is no requirement is a revision; two requirements are two interpreters."""
    seen = []
    monkeypatch.setattr(noxfile, "_environment", lambda _: None)
    monkeypatch.setattr(noxfile, "_other_environment", lambda _, wanted: str(wanted))
    monkeypatch.setattr(noxfile, "_python", lambda _, *told: seen.append(list(told)))
    noxfile.ab.func(Session(*words))
    assert seen == [["-m", "benchmarks", "ab", *given]]


@pytest.mark.parametrize("words", [[], ["torch==1"], ["main", "dev"], ["torch==1", "jax==1"], ["six==1", "six==2"]])
def test_nox_ab_tells_what_it_takes(noxfile, monkeypatch, words):
    """Anything else ends with one line, before anything is installed."""
    monkeypatch.setattr(noxfile, "_environment", lambda _: None)
    with pytest.raises(RuntimeError, match="give one revision, or two versions of one framework"):
        noxfile.ab.func(Session(*words))


def test_nox_offers_what_the_page_shows():
    """Every `nox -s NAME` of the page is a session."""
    text = (ROOT / "noxfile.py").read_text()
    named = r'^(?:def (\w+)\(session: nox\.Session\)|@nox\.session\(name="([\w-]+)")'
    names = {name for pair in re.findall(named, text, re.MULTILINE) for name in pair}
    assert set(re.findall(r"nox -s ([\w-]+)", DOCS)) <= names


@pytest.mark.parametrize(
    ("cpu", "cores", "slug"),
    [
        ("AMD EPYC", 2, "amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", 4, "intel-xeon-2-20ghz-4-cores"),
        ("../..", 1, "unknown-1-cores"),
    ],
)
def test_a_machines_name_can_name_a_folder(monkeypatch, cpu, cores, slug):
    """Lower case, digits and dashes, whatever the kernel calls the processor."""
    monkeypatch.setattr(environment, "machine", lambda: {"cpu": cpu, "cores_allowed": cores})
    assert environment.machine_slug() == slug


@pytest.mark.parametrize(
    ("told", "kind", "slug"),
    [
        (
            "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx avx2 avx512f\n",
            "family 26 model 2 avx512f",
            "amd-epyc-26-2-avx512f-2-cores",
        ),
        (
            "cpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) Gold 6130 CPU\nflags\t\t: fpu avx\n",
            "family 6 model 85 avx",
            "intel-xeon-gold-6130-2-cores",
        ),
        ("model name\t: AMD EPYC\n\ncpu family\t: 26\nmodel\t: 2\n", "", "amd-epyc-2-cores"),
    ],
)
def test_processors_of_one_name_are_told_apart(monkeypatch, tmp_path, told, kind, slug):
    """A hypervisor calls a Zen 3 and a Zen 5 "AMD EPYC"; a model that stands in the name needs no more words."""
    file = tmp_path / "cpuinfo"
    file.write_text(told)
    monkeypatch.setattr(environment, "Path", lambda path: file)
    assert environment.cpu_kind() == kind
    found = {"cpu": environment.cpu_model(), "cores_allowed": 2, **({"cpu_kind": kind} if kind else {})}
    assert environment.machine_slug(found) == slug
