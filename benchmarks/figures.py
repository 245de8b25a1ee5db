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
    if base in rounds:
        for name, values in rounds.items():
            pairs = zip(values, rounds[base], strict=False)
            found[name]["ratio"] = statistics.median(a / b for a, b in pairs if b)
    return found


def ratio(rounds: Rounds, one: str, other: str) -> float | None:
    """Return how many times the other's figure the one's is; None without both."""
    if one not in rounds or other not in rounds:
        return None
    pairs = zip(rounds[one], rounds[other], strict=False)
    return statistics.median(a / b for a, b in pairs if b)
