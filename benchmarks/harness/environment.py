"""The environment fingerprint: what has to be equal for two runs to be comparable, and what helps to explain them."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.harness.control_groups import cpu_quota
from benchmarks.harness.cpus import cpus_allowed
from benchmarks.harness.steering import NVIDIA, steering_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.harness.session import Greeting

_VECTORS = ("avx512f", "avx2", "avx", "sse4_2")
"""Flags of vector instructions, the widest first."""
IDENTITY = ("cpu", "architecture", "cores_physical", "cores_logical", "cores_allowed", "cpu_quota", "system")
"""Fields of `machine` that have to be equal for two machines to be alike; and cpu_kind, where it is known."""


def machine() -> dict[str, Any]:
    """The hardware and the limits that this process runs under."""
    return {
        "cpu": cpu_model(),
        **({"cpu_kind": kind} if (kind := cpu_kind()) else {}),
        "architecture": platform.machine(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_allowed": cpus_allowed(),
        "cpu_quota": cpu_quota(),
        "memory_bytes": memory_bytes(),
        "system": platform.system(),
        "kernel": platform.release(),
        **({"accelerators": devices} if (devices := accelerators()) else {}),
    }


def machine_slug(found: Mapping[str, Any] | None = None) -> str:
    """A machine in a word that can name a folder: its processor, and the cores that it may use; its accelerator first.

    Where a hypervisor hides which model the processor is ("AMD EPYC"), its kind stands beside. `found`: as environment.json
    has it; default this machine.
    """
    found = machine() if found is None else found
    words = re.sub(r"\(\w+\)|\bCPU\b", " ", str(found.get("cpu", "")))  # (R), (TM)
    is_nameless = not any(letter.isdigit() for letter in words)
    kind = re.sub(r"\b(family|model) ", "", str(found.get("cpu_kind", ""))) if is_nameless else ""
    processor = _word(f"{words} {kind}") or "unknown"
    cores = re.sub(r"[^0-9]", "", str(found.get("cores_allowed", ""))[:9]) or "unknown"
    devices = found.get("accelerators")
    first = _word(str(devices[0])) if isinstance(devices, list) and devices else ""
    return f"{first}-{processor}-{cores}-cores".lstrip("-")


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def machine_id(found: Mapping[str, Any] | None = None) -> str:
    """What a machine is called in the rows that were measured on it: its slug and six digits of a hash of what it is.

    Two machines that are alike have one name, for their times may be compared. Of memory it takes the nearest quarter of
    a power of two: the kernel keeps a little more or less for itself after every update. `found`: as in environment.json.
    """
    known = machine() if found is None else found
    memory = known.get("memory_bytes")
    size = round(4 * math.log2(memory)) if isinstance(memory, int) and memory > 0 else None
    told = [*(known.get(name) for name in IDENTITY), size, known.get("accelerators")]
    told += [known["cpu_kind"]] if "cpu_kind" in known else []  # runs from before it was recorded keep their names
    digits = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:6]
    return f"{machine_slug(known)}-{digits}"


def accelerators() -> list[str]:
    """The models of the NVIDIA devices that the kernel's driver tells of."""
    found = []
    for file in sorted(NVIDIA.glob("*/information")):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return sorted(found)


def memory_bytes() -> int | None:
    """What the machine has; None where nobody tells."""
    try:
        return int(psutil.virtual_memory().total)
    except (OSError, ValueError, psutil.Error):
        return None


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    return _first_cpu().get("model name") or platform.processor() or "unknown"


def cpu_kind() -> str:
    """Which processor it is where its name does not say so: as in "family 25 model 1 avx2"; empty where nobody tells.

    "AMD EPYC" is what a virtual machine is told of processors of which one takes half as long as the other.
    """
    told = _first_cpu()
    if not {"cpu family", "model"} <= told.keys():
        return ""
    flags = told.get("flags", "").split()
    vectors = next((flag for flag in _VECTORS if flag in flags), "")
    return f"family {told['cpu family']} model {told['model']} {vectors}".rstrip()


def _first_cpu() -> dict[str, str]:
    """What the kernel says of the first processor; nothing where it says nothing."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def revision() -> dict[str, Any]:
    """The git commit of this checkout, when it was made, and whether the checkout differs from it."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        result = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return result.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "time": git("show", "--no-patch", "--format=%cI", "HEAD"),
            "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except OSError:
        return {"commit": "", "modified": None}


def fingerprint(
    greetings: dict[str, Greeting] | None = None, variables: dict[str, str] | None = None
) -> dict[str, Any]:
    """Everything, as plain data for environment.json. `variables`: what the workers get, where it is not all of this
    process's.
    """
    load = psutil.getloadavg()
    return {
        "schema_version": 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "machine": machine(),
        "load_average": [round(x, 2) for x in load],
        "variables": steering_variables() if variables is None else variables,
        "revision": revision(),
        "frameworks": {
            name: {
                "status": g.status.value,
                "reason": g.reason,
                "version": g.version,
                "devices": list(g.devices),
                "settings": dict(g.settings),
                "variables": dict(g.variables),
                "own_variables": dict(g.own_variables),
                "import_s": round(g.import_s, 3),
            }
            for name, g in (greetings or {}).items()
        },
    }
