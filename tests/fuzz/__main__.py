"""python -m tests.fuzz [TARGET...] [--inputs N] [--seed N]: give so many inputs to each target; 1 if one breaks it.

Under atheris, where it is installed: coverage of this program leads it to new inputs. Without: mutations of the seeds. What
breaks a target is left in the current folder; put it under tests/fuzz/seeds/TARGET/ with the mend.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

_HANG_S = 30


def main() -> int:
    """Fuzz; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        _under_atheris(asked.one, asked.inputs, asked.seed)
        return 0
    from tests.fuzz.targets import MEMORY, TARGETS

    broken = 0
    for target in asked.targets or TARGETS:
        start = time.monotonic()
        if atheris is None:
            told = _mutated(target, asked.inputs, asked.seed)
        else:
            # libFuzzer ends the process that it runs in, which then cleans nothing up.
            words = ("--one", target, "--inputs", str(asked.inputs), "--seed", str(asked.seed))
            with tempfile.TemporaryDirectory(prefix="attnbench-fuzz-", dir=MEMORY) as folder:
                command, environment = [sys.executable, "-m", "tests.fuzz", *words], {**os.environ, "TMPDIR": folder}
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            told = _last_words(done.stderr) if done.returncode else ""
        broken += bool(told)
        print(
            f"{target:14} {asked.inputs} inputs, {time.monotonic() - start:.0f} s: {told or 'nothing broke'}",
            flush=True,
        )
    return 1 if broken else 0


def _mutated(target: str, inputs: int, seed: int) -> str:
    """What broke, or nothing."""
    from tests.fuzz.mutations import mutate
    from tests.fuzz.targets import give, seeds

    rng, known = random.Random(seed), seeds(target)
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("a hang")))
    for number in range(inputs):
        data = mutate(rng, rng.choice(known))
        signal.alarm(_HANG_S)
        try:
            give(target, data)
        except Exception as error:  # noqa: BLE001 - whatever leaves a reader is what is looked for
            file = Path(f"broken-{target}-{seed}-{number}")
            file.write_bytes(data)
            return f"{type(error).__name__}: {str(error)[:300]} ({file})"
        finally:
            signal.alarm(0)
    return ""


def _under_atheris(target: str, inputs: int, seed: int) -> None:
    """Coverage-guided; never returns."""
    with atheris.instrument_imports(include=["benchmarks", "backends", "tomllib", "json"]):
        from tests.fuzz.targets import give, seeds
    corpus = Path(tempfile.mkdtemp(prefix="attnbench-corpus-"))
    for number, data in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(data)
    words = Path(corpus.parent / f"{corpus.name}.dict")
    from tests.fuzz.mutations import HOSTILE

    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in HOSTILE if 0 < len(word) <= 64)
    words.write_text("\n".join(lines) + "\n")
    options = (f"-runs={inputs}", f"-seed={seed}", f"-timeout={_HANG_S}", f"-dict={words}")
    limits = ("-max_len=16384", "-rss_limit_mb=4096")
    atheris.Setup(
        [sys.argv[0], *options, *limits, f"-artifact_prefix=broken-{target}-", str(corpus)],
        lambda data: give(target, data),
    )
    atheris.Fuzz()


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [
        line for line in lines if "Error" in line or "Uncaught" in line or "Test unit" in line or "timeout" in line
    ]
    return " | ".join(errors[-3:] or lines[-3:])[:600]


if __name__ == "__main__":
    sys.exit(main())
