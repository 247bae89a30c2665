"""The check is proven: every planted fault is found, and no other way to be right is accused."""

from __future__ import annotations

import pytest

from benchmarks.conformance.probes import PROBES, Probe
from tests.mutants import __main__ as table
from tests.mutants.mutant import Mutant, mutant
from tests.mutants.trial import CHEAP_FIRST, FAULTS, accusations, caught_by
from tests.mutants.variants import VARIANTS

# Where a bound is 0 and the fault is not, the judge divides by it: infinitely wrong, as it should be.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")


def named(mutant: Mutant) -> str:
    return f"{mutant.family}: {mutant.name}"


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_each_fault_is_found(fault: Mutant) -> None:
    """By at least one probe, as wrong: neither by luck nor because it raises."""
    assert caught_by(fault)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_no_right_variant_is_accused(variant: Mutant) -> None:
    """Every probe passes, and none is refused."""
    assert not accusations(variant)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_each_probe_finds_a_fault(probe: Probe) -> None:
    """A probe that finds nothing is none."""
    assert any(caught_by(fault, [probe]) for fault in FAULTS)


def test_the_faults_are_many_and_each_is_another() -> None:
    names = [named(mutant) for mutant in (*FAULTS, *VARIANTS)]
    assert len(set(names)) == len(names)
    assert len(FAULTS) >= 100
    assert len(VARIANTS) >= 15
    assert set(CHEAP_FIRST) == set(PROBES)


@pytest.mark.parametrize(
    ("faults", "variants", "says", "status"),
    [
        (FAULTS[:1], VARIANTS[:1], "1 faults, 1 right variants, 0 told wrong", 0),
        ((mutant("none at all"),), (), "SURVIVES", 1),
        (FAULTS[:1], FAULTS[1:2], "WRONGLY ACCUSED by", 1),
        ((), VARIANTS[:1], "0 faults", 1),
    ],
)
def test_the_table_is_red_where_something_is_told_wrong(monkeypatch, capsys, faults, variants, says, status) -> None:
    """`nox -s mutants`: 1 where a fault survives, a right one is accused, or nothing was planted."""
    monkeypatch.setattr(table, "FAULTS", faults)
    monkeypatch.setattr(table, "VARIANTS", variants)
    assert table.main() == status
    assert says in capsys.readouterr().out
