"""Medians, spreads and ratios of what was measured in rounds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

#: What was measured, by engine: one figure for each round.
Rounds = Mapping[str, Sequence[float]]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, middle, high = quartiles(values)
    return {"median": middle, "low": low, "high": high, "rounds": len(values)}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, statistics.median(values), high


def ratios(rounds: Rounds, base: str) -> dict[str, dict[str, float]]:
    """
    Return each one's summary, with the ratio to the base: the median of the ratios
    within each round, because two figures of one round had the same machine.
    """
    found: dict[str, Any] = {name: summary(values) for name, values in rounds.items()}
    for name, values in rounds.items():
        # Who failed has done fewer rounds than the base, or the base than the others.
        pairs = zip(values, rounds.get(base, ()), strict=False)
        quotients = [a / b for a, b in pairs if b]
        if quotients:
            found[name]["ratio"] = statistics.median(quotients)
    return found
