"""`python -m tests.mutants [WORD]`: plant every fault, print which probes find it and what they say; 1 if one survives.

With a word, only those whose family or name has it.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from benchmarks.conformance.probes import PROBES
from tests.mutants.trial import FAULTS, accusations
from tests.mutants.variants import VARIANTS


def main(word: str = "") -> int:
    """Print the table; the exit status."""
    start, wrong, found, alone = time.monotonic(), 0, Counter[str](), Counter[str]()
    faults, variants = ([m for m in mutants if word in f"{m.family}: {m.name}"] for mutants in (FAULTS, VARIANTS))
    for fault in faults:
        caught = accusations(fault)
        found.update(list(caught))
        alone.update(list(caught) if len(caught) == 1 else [])
        wrong += not caught
        how = next(iter(caught.values()), "")
        print(f"{fault.family}: {fault.name}\n    {', '.join(caught) or 'SURVIVES'}\n    {how[:160]}")
    for variant in variants:
        accused = accusations(variant)
        wrong += bool(accused)
        told = "; ".join(f"{name}: {reason}" for name, reason in accused.items())
        print(f"{variant.family}: {variant.name}\n    {'WRONGLY ACCUSED by ' + told if accused else 'passes'}")
    print("\nprobe             finds  finds alone")
    for probe in PROBES:
        print(f"{probe.name:<17} {found[probe.name]:>5} {alone[probe.name]:>12}")
    seconds = time.monotonic() - start
    print(f"\n{len(faults)} faults, {len(variants)} right variants, {wrong} told wrong, {seconds:.0f} s")
    return 1 if wrong or not faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
