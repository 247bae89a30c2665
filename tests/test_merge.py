"""What was measured apart is joined: nothing lost, nothing twice, no two machines in one cell."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks
from benchmarks import suites
from benchmarks.comparison.pairs import check_pairs, pair_up
from benchmarks.comparison.readers import read_machines, read_side
from benchmarks.comparison.stored import compare_machines
from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.harness.environment import machine_id
from benchmarks.harness.state import State
from benchmarks.merging import merge, read_part, write
from benchmarks.plan import Plan, select_cases, select_shard
from benchmarks.records import read
from benchmarks.reports.formats import markdown
from benchmarks.reports.verdict_formats import as_csv
from benchmarks.results import to_records
from benchmarks.run_folder import RunFolder
from tests.planted import ENVIRONMENT, edited, usual, write_run
from tests.processes import attnbench

OTHER = edited(ENVIRONMENT, machine__cpu="Intel Xeon", machine__cores_allowed=8)
HERE, THERE = machine_id(ENVIRONMENT["machine"]), machine_id(OTHER["machine"])


def join(folder, *runs):
    """Read, merge, write; the folder."""
    write(merge([read_part(run) for run in runs]), folder)
    return folder


def renamed(prefix):
    """A change of each record's case."""
    return lambda record: dataclasses.replace(record, case=f"{prefix}-{record.case}")


def not_measured(folder, plan):
    """The folder of a run that was interrupted before its first block."""
    run = RunFolder.create(folder, plan)
    run.write_environment(ENVIRONMENT)
    run.write_results(to_records(plan, State(), folder.name, machine=HERE), State())
    run.close()
    return folder


@given(st.sampled_from(sorted(suites.SUITES)), st.integers(1, 40), st.data())
def test_shards_divide_a_suite_whatever_is_filtered(suite, of, data):
    """Each case is in one shard, and in the same one when others are left out."""
    cases = suites.load(suite)
    left = tuple(data.draw(st.lists(st.sampled_from(cases), min_size=1, unique=True)))

    def shards(chosen):
        found = {}
        for number in range(1, of + 1):
            try:
                part = select_shard(chosen, suite, f"{number}/{of}")
            except UsageError:
                continue
            found |= {case.name: number for case in part}
            assert len(part) <= -(-len(cases) // of)
        return found

    whole = shards(cases)
    assert set(whole) == {case.name for case in cases}
    assert shards(left) == {case.name: whole[case.name] for case in left}


@pytest.mark.parametrize("text", ["", "1", "0/5", "6/5", "-1/5", "a/b", "1/0", "1/5/5", "1 /5", "\u0661/5"])
def test_what_is_no_shard_is_refused(text):
    """With what was expected."""
    cases = suites.load("smoke")
    if text == "\u0661/5":  # another script's digit one is a digit
        assert select_shard(cases, "smoke", text) == select_shard(cases, "smoke", "1/5")
        return
    with pytest.raises(UsageError, match="expected NUMBER/OF"):
        select_shard(cases, "smoke", text)


def test_an_empty_shard_is_no_green_run():
    """A shard that none of the chosen cases is in is refused, with those that have some."""
    cases = select_cases("smoke", ["tiny-*"])
    with pytest.raises(UsageError, match=r"--shard 9/9 has none .* they are in 1/9"):
        select_shard(cases[:1], "smoke", "9/9")


def test_all_shards_are_the_undivided_run(tmp_path):
    """The same cells in the same order, and one plan that asks for them."""
    plan = Plan(suite="default", cases=suites.load("default"), implementations=("numpy/naive", "numpy/blocked"))
    whole = not_measured(tmp_path / "whole", plan)
    parts = []
    for number in (3, 1, 2):
        shard = f"{number}/3"
        cases = select_shard(plan.cases, "default", shard)
        parts.append(not_measured(tmp_path / f"part{number}", dataclasses.replace(plan, cases=cases, shard=shard)))
    joined = join(tmp_path / "joined", *parts)
    assert [r.key for r in read(joined)] == [r.key for r in read(whole)]
    assert Plan.from_dict(json.loads((joined / "plan.json").read_text())) == plan
    told = json.loads((joined / "environment.json").read_text())
    assert [(run["shard"], run["run_id"]) for run in told["merged"]] == [(f"{n}/3", f"part{n}") for n in (3, 1, 2)]


def test_parts_of_one_machine_are_one_run(tmp_path):
    """Cells and blocks of both, read like any run of one machine; the best rates of either, and the time of both."""
    a = write_run(tmp_path / "a", environment=edited(ENVIRONMENT, wall_s=1.5))
    faster = edited(ENVIRONMENT, wall_s=2.0, matmul_gflops={"float32": {"numpy": 250.0}, "float64": {"numpy": 90.0}})
    b = write_run(tmp_path / "b", seed=1, change=renamed("more"), environment=faster)
    joined = read_side(join(tmp_path / "joined", a, b))
    assert joined.logs == {**read_side(a).logs, **read_side(b).logs}
    assert joined.environment["wall_s"] == 3.5
    assert joined.environment["matmul_gflops"] == {"float32": {"numpy": 250.0}, "float64": {"numpy": 90.0}}
    assert {record.machine for record in joined.records.values()} == {HERE}


def test_machines_stay_apart(tmp_path):
    """The same cells on two machines: each has its rows, its blocks and its environment, and the frames tell which."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, environment=OTHER, slower={0: 3.0})
    joined = read_machines(join(tmp_path / "joined", a, b))
    assert list(joined) == [HERE, THERE]
    for machine, run in ((HERE, a), (THERE, b)):
        assert joined[machine].logs == read_side(run).logs
        assert joined[machine].environment == read_side(run).environment
    frame, samples = benchmarks.load(tmp_path / "joined"), benchmarks.load_samples(tmp_path / "joined")
    assert list(frame.groupby("machine").size()) == [4, 4]
    assert set(samples["machine"]) == {HERE, THERE}
    with pytest.raises(UnreadableResults, match="is of 2 machines, expected a run of one"):
        read_side(tmp_path / "joined")


def test_the_same_cell_of_one_machine_twice_is_refused(tmp_path):
    """With the cell and both runs."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1)
    with pytest.raises(UsageError, match=f"case-0 numpy/naive cpu forward of machine {HERE} is in .*a and in .*b"):
        merge([read_part(a), read_part(b)])


@pytest.mark.parametrize(("column", "value"), [("T", 8), ("causal", "top_left"), ("dtype", "float16")])
def test_one_name_for_two_problems_is_refused(tmp_path, column, value):
    """On another machine too, with the column and both values."""
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", environment=OTHER, change=lambda r: dataclasses.replace(r, **{column: value}))
    with pytest.raises(UsageError, match=f"case case-0 is not the same problem: {column} is .* in .*a and {value} in"):
        merge([read_part(a), read_part(b)])


def test_what_only_the_plans_tell_is_held_too(tmp_path):
    """Two suites that draw the values of one case otherwise are refused, though summary.csv has no such column."""
    plan = Plan(suite="smoke", cases=suites.load("smoke")[:1], implementations=("numpy/naive",))
    other = dataclasses.replace(plan.cases[0], values="outliers")
    a = not_measured(tmp_path / "a", plan)
    b = not_measured(tmp_path / "b", dataclasses.replace(plan, cases=(other,), implementations=("numpy/blocked",)))
    with pytest.raises(UsageError, match=r"values are normal in .*a and outliers in .*b"):
        merge([read_part(a), read_part(b)])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"variables": {"OMP_NUM_THREADS": "1"}}, "variables.OMP_NUM_THREADS"),
        ({"cpus": [1]}, "cpus"),
        ({"python": "3.12.1"}, "python"),
        ({"frameworks__numpy__version": "numpy 2.5"}, "frameworks.numpy.version"),
    ],
)
def test_parts_under_other_conditions_are_no_one_run(tmp_path, change, says):
    """Of one machine: what `compare` or `run --resume` would refuse, `merge` does. On two machines it may be."""
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", change=renamed("more"), environment=edited(ENVIRONMENT, **change))
    with pytest.raises(UsageError, match=f"of one machine, .* differ in {says}"):
        merge([read_part(a), read_part(b)])
    there = write_run(tmp_path / "c", change=renamed("more"), environment=edited(OTHER, **change))
    assert len(merge([read_part(a), read_part(there)]).records) == 8


def test_mixed_schemas_are_refused(tmp_path):
    """A row of a version that is not known is named with its file."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", change=renamed("more"))
    file = b / "summary.csv"
    file.write_text(file.read_text().replace("\n1,", "\n2,"))
    with pytest.raises(UnreadableResults, match=r"b/summary\.csv, line 2: schema_version '2', expected 1"):
        merge([read_part(a), read_part(b)])


def test_rows_from_before_machines_were_named(tmp_path):
    """An old summary.csv is read, and takes its machine from the environment beside it."""
    a = write_run(tmp_path / "a")
    file = a / "summary.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    with file.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(row[: rows[0].index("machine")] for row in rows)
    assert {record.machine for record in read(a)} == {""}
    assert list(read_machines(a)) == [HERE]
    joined = join(tmp_path / "joined", a, write_run(tmp_path / "b", environment=OTHER))
    assert {record.machine for record in read(joined)} == {HERE, THERE}


def test_blocks_that_belong_to_no_cell_are_refused_and_nothing_stays(tmp_path):
    """A samples.csv that is not the summary's ends the merge, and no half-written folder is left."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", change=renamed("more"))
    with (b / "samples.csv").open("a") as file:
        file.write("ghost,numpy/naive,cpu,forward,0,0,0,10,0.1,1e-06,0.01\n")
    with pytest.raises(UnreadableResults, match="ghost numpy/naive cpu forward is not in summary"):
        join(tmp_path / "joined", a, b)
    assert not (tmp_path / "joined").exists()


@pytest.mark.parametrize("plan", ["[]", "{}", "nonsense", '{"suite": 1}', "[" * 100_000])
def test_a_damaged_plan_is_one_line(tmp_path, plan):
    """Whatever it holds."""
    a = write_run(tmp_path / "a")
    (a / "plan.json").write_text(plan)
    with pytest.raises(UnreadableResults, match=r"plan\.json is damaged"):
        read_part(a)


def compared(a, b):
    """As `compare` does it."""
    pairs = pair_up(read_machines(a), read_machines(b))
    check_pairs(pairs, force=False)
    return compare_machines(pairs, usual(), 0.01)


def test_compare_holds_each_machine_against_itself(tmp_path):
    """Slower in one cell of one machine: that one is named, and the other machine's time is not mixed in."""
    a = join(tmp_path / "a", write_run(tmp_path / "a1"), write_run(tmp_path / "a2", environment=OTHER, slower={0: 3.0}))
    b = join(
        tmp_path / "b",
        write_run(tmp_path / "b1", seed=1),
        write_run(tmp_path / "b2", seed=2, environment=OTHER, slower={0: 3.0, 2: 1.3}),
    )
    found = compared(a, b)
    assert [(cell.machine, cell.case) for cell in found.worse] == [(THERE, "case-2")]
    assert found.count(Verdict.SAME) == 7
    lines = as_csv(found).splitlines()
    assert lines[0].endswith(",machine")
    assert sum(line.endswith(f",{THERE}") for line in lines) == 4


def test_a_machine_that_is_gone_is_missing(tmp_path):
    """Its cells are, unless that is allowed; a machine that is new is no regression."""
    one = write_run(tmp_path / "one")
    both = join(tmp_path / "both", one, write_run(tmp_path / "two", environment=OTHER))
    gone = compared(both, one)
    assert {cell.machine for cell in gone.worse} == {THERE}
    assert gone.exit is Exit.REGRESSION
    new = compared(one, both)
    assert new.exit is Exit.GREEN
    assert [cell.note[:16] for cell in new.cells if cell.machine == THERE] == ["new in the candi"] * 4


def test_runs_of_two_machines_are_refused_as_before(tmp_path):
    """One machine each: not comparable, with the fields; a merged run that has neither shares no machine."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", environment=OTHER)
    done = attnbench("compare", a, b)
    assert (done.returncode, "machine.cpu" in done.stderr) == (3, True)
    third = write_run(tmp_path / "c", environment=edited(ENVIRONMENT, machine__cpu="ARM"))
    done = attnbench("compare", join(tmp_path / "joined", a, b), third)
    assert (done.returncode, "they share no machine" in done.stderr) == (3, True)


def test_a_table_of_several_machines_has_a_column_for_them(tmp_path):
    """And one winner for each case of each machine."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, environment=OTHER)
    text = markdown(read(join(tmp_path / "joined", a, b)))
    assert text.startswith("| machine | case |")
    assert text.count("**numpy/naive**") == 8
    assert markdown(read(a)).startswith("| case |")


def test_merge_from_the_command_line(tmp_path):
    """Two folders become one; the same again is refused with one line and exit 2."""
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, environment=OTHER)
    words = ("merge", a, b, "--out", tmp_path / "joined")
    done = attnbench(*words)
    assert done.returncode == 0, done.stderr
    assert "8 cells of 2 runs on 2 machines." in done.stdout
    again = attnbench(*words)
    assert (again.returncode, again.stderr.count("\n"), "holds a run already" in again.stderr) == (2, 1, True)


def test_a_machine_keeps_its_name():
    """Over updates of the kernel and a little memory; never over another processor, count of cores or accelerator."""
    known = ENVIRONMENT["machine"]
    for same in ({"kernel": "7.0"}, {"memory_bytes": known["memory_bytes"] - 2**26}):
        assert machine_id({**known, **same}) == HERE
    others = [
        {"cpu": "X"},
        {"cpu_kind": "family 26 model 2 avx512f"},
        {"cores_allowed": 1},
        {"cpu_quota": 1.5},
        {"memory_bytes": 2**37},
        {"accelerators": ["H100"]},
    ]
    assert len({HERE, *(machine_id({**known, **other}) for other in others)}) == 7
    assert machine_id({"cpu": ["odd"], "memory_bytes": "much", "cores_allowed": None}).startswith("odd-unknown-cores-")
