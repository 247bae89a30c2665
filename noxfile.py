"""Developer entry points. All sessions share one environment, `.venv`: the frameworks are installed once.

nox -s dev      create or update .venv
nox -s tests    everything the README promises, with warnings as errors
nox -s lint     ruff and the layers
nox -s types    mypy, strict
nox -s bench    the main job: run --suite default
nox -s ab       a revision, or two versions of a framework, timed live in alternation
nox -s baseline keep a run of this machine under results/baselines
nox -s mutants  faults that the check has to find, and right variants that it may not accuse
nox -s conformance  docs/conformance.md and results/conformance.csv, red where an answer changed
nox -s pytest-benchmark   a suite through pytest-benchmark
nox -s docs     the site, strictly, in docs/_build/html
nox -s kills    kill a run at fifty random moments
nox -s soak     run in a loop for an hour, and look at what grows
nox -s fuzz     give every reader what a stranger may have written
nox -s audit-dependencies   ask for advisories about every pin
nox -s history  measure past commits of this project into results/history
nox -s screenshots   the pictures of the report, from a stored run in headless Chromium
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sys
import venv
from datetime import UTC, datetime
from pathlib import Path

import nox
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
STAMP = VENV / "attnbench-installed"
EXTRAS = "tf_keras,jax,torch,onnxruntime,parquet,cluster,numba"
TORCH = "2.13.0"
FRAMEWORKS = {
    "numpy": "numpy",
    "tensorflow": "tf_keras",
    "keras": "tf_keras",
    "jax": "jax",
    "jaxlib": "jax",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "onnx": "onnxruntime",
}
"""Distribution -> the framework that is compared where two versions of it are."""
BASELINE = ("summary.csv", "samples.csv", "environment.json", "noise.json")


def _wanted() -> str:
    """What the environment is made from: when this changes, it is made again."""
    files = (ROOT / name for name in ("pyproject.toml", "constraints.txt", "noxfile.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _pip(session: nox.Session, *words: str, python: str = PYTHON, **options: object) -> object:
    # run_install: what `--install-only` leaves out would otherwise be stamped as installed.
    return session.run_install(python, "-m", "pip", "install", "--quiet", *words, external=True, **options)


def _install_torch(
    session: nox.Session, python: str = PYTHON, wanted: str = f"torch=={TORCH}", constraints: str = "constraints.txt"
) -> None:
    """The CPU build where there is no NVIDIA device: the default Linux build would pull gigabytes of CUDA."""
    if sys.platform != "linux" or shutil.which("nvidia-smi"):
        _pip(session, wanted, "-c", constraints, python=python)
        return
    # A configured index or wheel folder may offer the CPU build under its local version; if not, uv knows where it is.
    quiet = {"success_codes": [0, 1], "silent": True}
    _pip(session, f"{wanted}+cpu", "-c", constraints, python=python, **quiet)
    installed = session.run_install(
        python, "-c", "import importlib.metadata as m; print(m.version('torch'))", external=True, **quiet
    )
    if not str(installed).startswith(wanted.partition("==")[2] or "none"):
        _pip(session, "uv", python=python)
        words = ("pip", "install", "--python", python, "--torch-backend", "cpu", wanted)
        session.run_install(python, "-m", "uv", *words, external=True)


def _environment(session: nox.Session) -> None:
    """Create or update .venv; nothing to do where its stamp says that it is current."""
    session.chdir(ROOT)
    if STAMP.exists() and STAMP.read_text() == _wanted():
        return
    if not Path(PYTHON).exists():
        venv.create(VENV, with_pip=True)
    session.log("installing the frameworks into .venv; this takes a few minutes")
    _pip(session, "--upgrade", "pip>=25.1")
    _install_torch(session)
    _pip(session, "-c", "constraints.txt", "-e", f".[{EXTRAS}]", "--group", "dev")
    STAMP.write_text(_wanted())


def _python(session: nox.Session, *words: str) -> None:
    session.run(PYTHON, *words, external=True)


@nox.session
def dev(session: nox.Session) -> None:
    """Create .venv with everything: the frameworks and the tools."""
    _environment(session)
    session.log("ready: .venv/bin/python -m benchmarks --help")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, in two processes where nothing else is asked for: each of them loads every framework."""
    _environment(session)
    _python(session, "-m", "pytest", *(session.posargs or ("-n", "2", "--dist", "worksteal")))


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, and import-linter for the direction of the arrows."""
    _environment(session)
    _python(session, "-m", "ruff", "check", ".")
    _python(session, "-m", "ruff", "format", "--check", ".")
    _python(session, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy, strict."""
    _environment(session)
    _python(session, "-m", "mypy")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the main job, or another: nox -s bench -- run --suite smoke."""
    _environment(session)
    _python(session, "-m", "benchmarks", *(session.posargs or ("run", "--suite", "default")))


@nox.session(default=False)
def ab(session: nox.Session) -> None:
    """Compare live: nox -s ab -- REVISION, or nox -s ab -- torch==2.12.0 torch==2.13.0; options of `ab` may follow."""
    _environment(session)
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(words) :]
    wanted = [_requirement(word) for word in words]
    frameworks = {None if one is None else FRAMEWORKS.get(canonicalize_name(one.name)) for one in wanted}
    sides: tuple[str, ...]
    if len(words) == 1 and wanted == [None]:
        sides = ("--a-rev", words[0])
    elif len(words) == 2 and len(frameworks) == 1 and None not in frameworks:
        a, b = (_other_environment(session, one) for one in wanted if one is not None)
        sides = ("--a-python", a, "--b-python", b, "--framework", *(f for f in frameworks if f))
    else:
        session.error("give one revision, or two versions of one framework: nox -s ab -- torch==2.12.0 torch==2.13.0")
    _python(session, "-m", "benchmarks", "ab", *sides, *options)


def _requirement(word: str) -> Requirement | None:
    """A word that asks for a version; None for any other, such as a revision."""
    try:
        found = Requirement(word)
    except InvalidRequirement:
        return None
    return found if found.specifier else None


def _other_environment(session: nox.Session, wanted: Requirement) -> str:
    """The interpreter of an environment that is like .venv but for one requirement; it is kept, and made once."""
    name = hashlib.sha256(f"{wanted}\n{_wanted()}".encode()).hexdigest()[:12]
    folder = ROOT / ".venv-ab" / name
    python, stamp = str(folder / "bin" / "python"), folder / "attnbench-installed"
    if stamp.exists():
        return python
    session.log(f"installing {wanted} into {folder.relative_to(ROOT)}; this takes a few minutes")
    venv.create(folder, with_pip=True, clear=True)
    framework = FRAMEWORKS[canonicalize_name(wanted.name)]
    free = {canonicalize_name(wanted.name)} | ({"jax", "jaxlib"} if framework == "jax" else set())
    pins = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(pin for pin in pins if canonicalize_name(pin.partition("==")[0]) not in free))
    _pip(session, "--upgrade", "pip>=25.1", python=python)
    if framework == "torch":
        _install_torch(session, python, str(wanted), str(constraints))
    project = "." if framework == "numpy" else f".[{framework}]"
    _pip(session, "-c", str(constraints), "-e", project, str(wanted), python=python)
    stamp.write_text(f"{wanted}\n")
    return python


@nox.session(default=False)
def baseline(session: nox.Session) -> None:
    """Run a suite and keep its results as this machine's baseline: nox -s baseline -- smoke; options of `run` may follow."""
    _environment(session)
    suite, *options = session.posargs or ("default",)
    run = Path("results") / "runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{suite}-baseline"
    # The statistics stand on processes, and one CPU is far quieter than two that share a core.
    quiet = ("--processes", "4", "--cpus", "1")
    _python(session, "-m", "benchmarks", "run", "--suite", suite, "--out", str(run), *(options or quiet))
    ask = "from benchmarks.harness.environment import machine_slug; print(machine_slug())"
    machine = str(session.run(PYTHON, "-c", ask, external=True, silent=True)).strip()
    kept = Path("results") / "baselines" / machine / suite
    kept.mkdir(parents=True, exist_ok=True)
    for name in BASELINE:
        if (run / name).exists():
            shutil.copy(run / name, kept / name)
    session.log(f"kept in {kept}; compare a later run with it: python -m benchmarks compare {kept} RUN")


@nox.session(default=False)
def conformance(session: nox.Session) -> None:
    """Ask every implementation every question; write the page and the table, and fail where an answer changed."""
    _environment(session)
    table = Path("results") / "conformance.csv"
    against = ("--against", str(table)) if table.exists() else ()
    files = ("--page", "docs/conformance.md", "--csv", str(table))
    _python(session, "-m", "benchmarks", "check", "--matrix", *files, *against, *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Plant faults into a right attention; each has to be found by the questions of `check`, and no right variant accused."""
    _environment(session)
    _python(session, "-m", "tests.mutants", *session.posargs)


@nox.session(name="pytest-benchmark", default=False)
def pytest_benchmark(session: nox.Session) -> None:
    """Time a suite with pytest-benchmark: nox -s pytest-benchmark -- --suite smoke --benchmark-json out.json."""
    _environment(session)
    words = ("-p", "benchmarks.pytest_options", "benchmarks/bench_attention.py", "--benchmark-enable")
    _python(session, "-m", "pytest", *words, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site; every warning is an error."""
    _environment(session)
    options = ("-b", "html", "-W", "--keep-going", "-n", "-c", "docs")
    _python(session, "-m", "sphinx", *options, ".", "docs/_build/html", *session.posargs)


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """Kill a run at fifty random moments; each has to be resumed to the same cells, and to leave nothing behind."""
    _environment(session)
    session.run(PYTHON, "-m", "pytest", "tests/test_killed.py", external=True, env={"ATTNBENCH_KILLS": "50"})


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run in a loop for an hour; red where something grows."""
    _environment(session)
    _python(session, "-m", "tests.soak", *(session.posargs or ("--minutes", "60")))


@nox.session(default=False, venv_backend="venv")
def fuzz(session: nox.Session) -> None:
    """Give every reader what a stranger may have written, under atheris: nox -s fuzz -- samples --inputs 10000."""
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "fuzz")
    session.install("-c", "constraints.txt", "-e", ".", *wanted)
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("--inputs", "10000")))


@nox.session(name="audit-dependencies", default=False, venv_backend="venv")
def audit_dependencies(session: nox.Session) -> None:
    """Ask for advisories about every pin; red where they cannot be asked, too."""
    session.install("pip-audit")
    words = ("--strict", "--no-deps", "--disable-pip", "-r", "constraints.txt")
    session.run("pip-audit", *words, *session.posargs)


@nox.session(default=False)
def history(session: nox.Session) -> None:
    """Measure past commits of this project into results/history: nox -s history -- --again."""
    _environment(session)
    _python(session, "-m", "results.history.make", *session.posargs)


@nox.session(default=False)
def screenshots(session: nox.Session) -> None:
    """Take the pictures of the report again; needs a Chromium."""
    _environment(session)
    _python(session, "docs/images/screenshots.py")


@nox.session(default=False, venv_backend="venv")
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the documentation again."""
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "pictures")
    session.install("-c", "constraints.txt", *wanted)
    session.run("python", "docs/images/make.py")
