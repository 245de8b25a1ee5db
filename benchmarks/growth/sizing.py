"""
What so many sessions need: calculated from what was measured of one session and of one
request, and from what is assumed of a site, because only the site can tell.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..pages import Results

MILLION = 10**6
LIVE = tuple(millions * MILLION for millions in (1, 100, 1000))
GB = 10**9

#: A session lives for so many days, as with Django's default.
DAYS = 14
#: So often is it used in that time.
USES = 15
#: So many times more often at the peak of a day.
PEAK = 4
#: One use of so many changes something; the others read.
CHANGES = 5
#: The server may use so many times the memory of its data.
ROOM = 2
#: GB of memory that one primary may use at most. All of it is loaded after a restart,
#: and sent to a new replica.
LARGEST = 32
#: The least that a cluster consists of.
CLUSTER = 3
#: Bytes around each packet: Ethernet's 38, IP's 20, TCP's 32.
AROUND = 90
#: Which part of a core one plans with.
BUSY = 0.5

READ, CHANGE = "read", "change, of a user"

ASSUMED = {
    "a session lives": f"{DAYS} days",
    "it is used meanwhile": f"{USES} times",
    "more often at the peak of the day": f"{PEAK} times",
    "uses that change something": f"1 of {CHANGES}",
    "everybody is": "logged in",
    "the dictionary": "does not know the kind of site",
    "`maxmemory`, of the data": f"{ROOM} times",
    "`maxmemory` of one primary, at most": f"{LARGEST} GB",
    "primaries of a cluster, at least": str(CLUSTER),
    "around each packet (Ethernet, IP, TCP)": f"{AROUND} bytes",
    "of a core to plan with": f"{BUSY:.0%}",
}


@dataclass(frozen=True, slots=True)
class Need:
    """What so many live sessions need."""

    sessions: int
    data: float  # Bytes.
    primaries: int
    peak: float  # Requests in a second, of all primaries together.
    cpu: float  # Which part of its core each primary needs at the peak.
    bits: float  # Of its network in a second, each.

    @property
    def room(self) -> float:
        """Bytes that each primary may use."""
        return self.data * ROOM / self.primaries


def needs(results: Results) -> Iterator[Need]:
    for sessions in LIVE:
        data = sessions * bytes_of_one(results)
        count = math.ceil(data * ROOM / (LARGEST * GB))
        primaries = count if count == 1 else max(CLUSTER, count)
        peak = sessions * USES / (DAYS * 86400) * PEAK
        each = peak / primaries
        yield Need(
            sessions,
            data,
            primaries,
            peak,
            each * _mixed(results, cpu_of) / MILLION,
            each * _mixed(results, network_of) * 8,
        )


def bytes_of_one(results: Results) -> float:
    """
    Return what a session takes in the server, with its entry in the index, if its kind
    of site is none that the dictionary knows.
    """
    memory = results["requests"]["found"]["memory"]
    value = memory["value_of_other_sites"]
    around = memory["session"] - memory["value"]
    return float(value + around + memory["index_of_one_session"])


def sessions_of_a_primary(results: Results) -> float:
    """Return how many sessions the largest primary has memory for."""
    return LARGEST * GB / ROOM / bytes_of_one(results)


def of_a_core(results: Results, request: str) -> float:
    """Return how many of these requests a core carries in a second."""
    return MILLION / cpu_of(_row(results, request))


def cpu_of(row: dict[str, Any]) -> float:
    """Return microseconds of the server for a request, if it is busy."""
    return float(row["server_us_crowded"])


def network_of(row: dict[str, Any]) -> float:
    """Return the bytes of a request in both directions, with what is around them."""
    return float(row["bytes_in"] + row["bytes_out"] + row["packets"] * AROUND)


def _mixed(results: Results, figure: Any) -> float:
    """Return this figure of the mean request."""
    read, change = (figure(_row(results, name)) for name in (READ, CHANGE))
    return float(read + (change - read) / CHANGES)


def _row(results: Results, request: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = results["requests"]["found"]["rows"]
    return next(row for row in rows if row["request"] == request)


def for_a_million(rows: list[dict[str, Any]], figure: str) -> float:
    """
    Return a figure of a command for a million sessions more: from the rows with the
    fewest and with the most, so that the start of the process is not in it.
    """
    few, many = (choose(rows, key=lambda row: row["sessions"]) for choose in (min, max))
    more = many["sessions"] - few["sessions"]
    return float((many[figure] - few[figure]) / more * MILLION)
