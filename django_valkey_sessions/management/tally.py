"""
All sessions in figures, in the same memory however many there are.

Sizes are not kept but counted in buckets, each a little wider than the one before, so
that no percentile of theirs is wrong by more than ERROR of it and half a byte.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from ..sessions import SessionInfo

#: A hundredth: there are 1,000 buckets then up to the largest size there can be.
ERROR = 0.01
_GROWTH = (1 + ERROR) / (1 - ERROR)

MINUTE, HOUR, DAY = 60, 3600, 86400
#: Seconds at which a span ends and the next one begins.
ENDS = (MINUTE, HOUR, DAY, *(days * DAY for days in (7, 14, 30, 90, 365)), math.inf)


class Sizes:
    """Sizes in bytes, of which only the sum and the largest are known exactly."""

    def __init__(self) -> None:
        self.total = 0
        self.largest = 0
        self._buckets: Counter[int] = Counter()

    def add(self, size: int) -> None:
        self.total += size
        self.largest = max(self.largest, size)
        self._buckets[math.ceil(math.log(size, _GROWTH)) if size else -1] += 1

    def percentile(self, percent: float) -> int:
        """Return the size that so many percent of the sizes do not exceed."""
        rank = self._buckets.total() * percent / 100
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return min(_middle(bucket), self.largest)
        return 0


def _middle(bucket: int) -> int:
    """Return the size that is equally far, by proportion, from all in the bucket."""
    return 0 if bucket < 0 else round(2 * _GROWTH**bucket / (_GROWTH + 1))


class Spans:
    """How many lengths of time are how long."""

    def __init__(self) -> None:
        self.endless = 0
        self._counts: Counter[float] = Counter()

    def add(self, seconds: float | None) -> None:
        """Count a length in seconds; None is one that has no end."""
        if seconds is None:
            self.endless += 1
        else:
            self._counts[next(end for end in ENDS if seconds <= end)] += 1

    def counts(self) -> list[tuple[float, float, int]]:
        """
        Return how many are longer than a start and at most as long as an end, for each
        span in turn, but for those before the first and after the last that has any.
        """
        spans = list(zip((0, *ENDS), ENDS, strict=False))
        used = [number for number, (_, end) in enumerate(spans) if self._counts[end]]
        between = spans[used[0] : used[-1] + 1] if used else []
        return [(start, end, self._counts[end]) for start, end in between]


@dataclass
class Tally:
    """What the sessions are, all together."""

    now: datetime
    users: int = 0  # Sessions in which somebody is logged in.
    visitors: int = 0
    unreadable: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    ages: Spans = field(default_factory=Spans)
    lifetimes: Spans = field(default_factory=Spans)  # From now to when they expire.

    @property
    def total(self) -> int:
        return self.users + self.visitors + self.unreadable

    def add(self, info: SessionInfo) -> None:
        if info.created is None:
            self.unreadable += 1
        else:
            self.users += info.user_id is not None
            self.visitors += info.user_id is None
            self.ages.add((self.now - info.created).total_seconds())
        self.sizes.add(info.size)
        left = None if info.expires is None else info.expires - self.now
        self.lifetimes.add(None if left is None else left.total_seconds())
