"""Developer entry points. All sessions share one environment, `.venv`: three frameworks are installed once.

nox -s dev      create or update .venv
nox -s tests    everything the README promises, with warnings as errors
nox -s lint     ruff and the layers
nox -s types    mypy, strict
nox -s bench    the main job: run --suite default
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import venv
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
STAMP = VENV / "attnbench-installed"
EXTRAS = "tf_keras,jax,torch"
TORCH = "2.13.0"


def _wanted() -> str:
    """What the environment is made from: when this changes, it is made again."""
    files = (ROOT / name for name in ("pyproject.toml", "constraints.txt", "noxfile.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _pip(session: nox.Session, *words: str, **options: object) -> object:
    return session.run(PYTHON, "-m", "pip", "install", "--quiet", *words, external=True, **options)


def _install_torch(session: nox.Session) -> None:
    """The CPU build where there is no NVIDIA device: the default Linux build would pull gigabytes of CUDA."""
    if sys.platform != "linux" or shutil.which("nvidia-smi"):
        _pip(session, f"torch=={TORCH}", "-c", "constraints.txt")
        return
    # A configured index or wheel folder may offer the CPU build under its local version; if not, uv knows where it is.
    quiet = {"success_codes": [0, 1], "silent": True}
    _pip(session, f"torch=={TORCH}+cpu", "-c", "constraints.txt", **quiet)
    installed = session.run(
        PYTHON, "-c", "import importlib.metadata as m; print(m.version('torch'))", external=True, **quiet
    )
    if not str(installed).startswith(TORCH):
        _pip(session, "uv")
        words = ("pip", "install", "--python", PYTHON, "--torch-backend", "cpu", f"torch=={TORCH}")
        session.run(PYTHON, "-m", "uv", *words, external=True)


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
    """Run the tests."""
    _environment(session)
    _python(session, "-m", "pytest", *session.posargs)


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


@nox.session(default=False, venv_backend="venv")
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the documentation again."""
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "pictures")
    session.install("-c", "constraints.txt", *wanted)
    session.run("python", "docs/images/make.py")
