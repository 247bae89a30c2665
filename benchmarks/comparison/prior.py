"""What is known of a variance beforehand; without the statistics that make and use it, which take half a second to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prior:
    """What all cells together, or an earlier audit, say about the variance between units."""

    variance: float
    freedom: float
    """How many degrees of freedom that knowledge is worth."""
