"""This project's own history, measured anew: past commits, each in a checkout of its own, in random order, several times.

    .venv/bin/python -m results.history.make              # all commits of commits.txt, three rounds, on one CPU
    .venv/bin/python -m benchmarks report --history results/history

What is there already is not measured again: after an interruption the same command goes on, after a new line in commits.txt
it measures that commit, and --again begins anew. Each run is made by the commit's own program, with its own definition of the
median; only what is measured with stays the same: the interpreter, the frameworks, the cases, the CPU, processes and blocks.

Where old commits differ: before 27705ae there is no --cpus, so histories begin there; before de6075a there is no backward
pass, so it is left out. environment.json of old commits lacks `revision.time`, when the commit was made: it is added here.
"""  # noqa: INP001 - results/ is no package; this is a program beside its results

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness.environment import machine_slug
from benchmarks.live.checkout import checkout, git

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMPLEMENTATIONS = ("numpy/naive", "numpy/blocked", "jax/naive-jit", "jax/chunked")
"""Those that the commits are about, and the textbook forms beside them, which should not change."""
RUNS = {
    "forward": (
        "--suite",
        "default",
        "--case",
        "bert-512",
        "--case",
        "llama-prefill-512",
        "--case",
        "llama-decode-4096",
    ),
    "backward": ("--suite", "masks", "--case", "causal", "--pass", "forward_backward"),
}
"""Name -> what is run. Another suite each, so that each is a trend of its own."""
FIRST_BACKWARD = "de6075a"
KEPT = ("summary.csv", "environment.json")


def commits(file: Path = HERE / "commits.txt") -> list[str]:
    """The first word of each line that is no comment."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return [words[0] for words in lines if words and not words[0].startswith("#")]


def jobs(
    wanted: list[str], rounds: int, seed: int, has_backward: set[str], names: tuple[str, ...] = tuple(RUNS)
) -> list[tuple[int, str, str]]:
    """(round, commit, name of the run): every commit once a round, in random order, so that no drift looks like a change."""
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    found = []
    for number in range(1, rounds + 1):
        of_round = [(number, c, name) for c in wanted for name in names if name == "forward" or c in has_backward]
        rng.shuffle(of_round)
        found += of_round
    return found


def measure(path: Path, name: str, out: Path, cpus: str, processes: int) -> None:
    """One run by the program of a checkout. RuntimeError where it writes no results; cells that failed are rows of it."""
    words = [sys.executable, "-m", "benchmarks", "run", *RUNS[name], "--cpus", cpus, "--processes", str(processes)]
    words += [word for id in IMPLEMENTATIONS for word in ("--implementation", id)]
    words += ["--blocks", "12", "--quiet", "--format", "csv", "--out", str(out)]
    # One after the other, and from the checkout, so that its modules are the ones that are found.
    done = subprocess.run(words, cwd=path, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not (out / "summary.csv").exists():
        raise RuntimeError(f"{path.name}: run ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}")


def keep(run: Path, target: Path, commit: str, committed: str) -> None:
    """Summary and environment of a run that was made by this commit; nothing else of it. RuntimeError if another made it."""
    told = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    if told["revision"]["commit"] != commit:
        raise RuntimeError(f"expected the program of {commit}, and {told['revision']['commit']} has run")
    told["revision"]["time"] = committed
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in KEPT:
        shutil.copy(run / name, part / name)
    (part / "environment.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.rename(target)


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description="Measure past commits of this repository into results/history.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each commit")
    parser.add_argument("--cpus", default="1", help="as `run --cpus` takes it")
    parser.add_argument("--processes", type=int, default=3, help="fresh processes of each framework in a run")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    parser.add_argument("--only", choices=RUNS, help="one of the two runs of each commit")
    parser.add_argument("--again", action="store_true", help="throw away what is there of this machine")
    parser.add_argument("--out", type=Path, default=HERE, help="folder that holds the machines")
    parser.add_argument("commits", nargs="*", help="default: those of commits.txt")
    asked = parser.parse_args()
    kept = asked.out / machine_slug()
    if asked.again:
        shutil.rmtree(kept, ignore_errors=True)
    with ExitStack() as stack:
        wanted = {c: stack.enter_context(checkout(c, ROOT)) for c in asked.commits or commits()}
        since = git(ROOT, "rev-list", "--ancestry-path", f"{FIRST_BACKWARD}..HEAD").split()
        has_backward = {c for c, it in wanted.items() if it.commit in since or it.commit.startswith(FIRST_BACKWARD)}
        names = (asked.only,) if asked.only else tuple(RUNS)
        todo = [
            (number, c, name, kept / it.commit[:7] / f"{name}-{number}")
            for number, c, name in jobs(list(wanted), asked.rounds, asked.seed, has_backward, names)
            for it in (wanted[c],)
        ]
        todo = [job for job in todo if not job[3].exists()]
        for place, (number, c, name, target) in enumerate(todo, start=1):
            print(f"{place} of {len(todo)}: {c} {name}, round {number}", flush=True)
            at = wanted[c]
            with tempfile.TemporaryDirectory(prefix="attnbench-history-") as scratch:
                out = Path(scratch) / f"{at.commit[:7]}-{name}-{number}"
                measure(at.path, name, out, asked.cpus, asked.processes)
                keep(out, target, at.commit, git(ROOT, "show", "--no-patch", "--format=%cI", at.commit))
    print(f"in {kept}; look: python -m benchmarks report --history {asked.out}")


if __name__ == "__main__":
    main()
