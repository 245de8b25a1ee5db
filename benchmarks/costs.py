"""
What a whole request costs: round trips, commands, and bytes in both directions. All
of it is counted, so one machine says the same as another. Round trips and bytes are
counted between engine and server (see proxies.py), commands by the server, where those
that a script calls count as well; of a database they are the statements.
"""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from .crew import Crew, Member, crew
from .engines import ENGINES
from .ground import Ground
from .proxies import Counting
from .visits import REQUESTS, Request

#: Each is made so often. The first times are not counted, because an engine may have to
#: connect, or to send a script that the server does not know yet.
TIMES, WARM = 5, 2
#: Commands of those who count.
OTHERS = ("config|resetstat", "info", "client|setinfo")


def measure(
    ground: Ground,
    full: bool,
    failed: dict[str, str],
    engines: Iterable[str] = tuple(ENGINES),
) -> dict[str, Any]:
    counting = [Counting(ground.server.port)]
    if ground.postgres:
        counting.append(Counting(ground.postgres.port))
    place = ground.behind(*(proxy.port for proxy in counting))
    found = {}
    try:
        with crew(engines, place, ground.log, failed) as workers:
            for name, request in REQUESTS.items():
                found[name] = _of_all(workers, request, ground, counting)
    finally:
        for proxy in counting:
            proxy.close()
    return found


def _of_all(
    workers: Crew, request: Request, ground: Ground, counting: list[Counting]
) -> dict[str, Any]:
    costs = {}
    for member in workers.each():
        seen = [_cost(workers, member, request, ground, counting) for _ in range(TIMES)]
        if None not in seen:
            costs[member.name] = _summary(seen[WARM:])
    return costs


def _cost(
    workers: Crew,
    member: Member,
    request: Request,
    ground: Ground,
    counting: list[Counting],
) -> dict[str, float] | None:
    workers.ask(member, "visit", *request.before)
    with ground.connect() as connection:
        connection.config_resetstat()
        for proxy in counting:
            proxy.reset()
        statements = workers.ask(member, "request", request.path, request.renewing)
        stats = connection.info("commandstats")
    if statements is None:
        return None
    return {
        "trips": sum(proxy.counts.trips for proxy in counting),
        "commands": statements + calls(stats),
        "sent": sum(proxy.counts.sent for proxy in counting),
        "received": sum(proxy.counts.received for proxy in counting),
    }


def calls(stats: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many commands the server has been sent, by what it says of them."""
    named = {name.removeprefix("cmdstat_"): stat for name, stat in stats.items()}
    return sum(stat["calls"] for name, stat in named.items() if name not in OTHERS)


def _summary(seen: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(cost[name] for cost in seen) for name in seen[0]}
