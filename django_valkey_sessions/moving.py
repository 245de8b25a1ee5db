"""
Move all sessions of another engine here. It can be done again at any time: what is here
already, or has ended here since it was moved, is left as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from . import client, codec
from .arrivals import Arrival, adopt, adoptable, arrival
from .backend import SessionStore
from .flow import run
from .previous import Engine, Missed

What = Literal["moved", "here", "ended", "expired", "unreadable", "unfit"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come, or would come, of a session."""

    id: str
    #: "here": it was here already. "ended": it has ended since it was moved here, or
    #: while it was read. "unfit": the serializer of this engine can't take what it has.
    what: What
    error: str = ""  # The name of the serializer's error.


def move(engine: Engine, dry_run: bool = False) -> Iterator[Outcome]:
    """
    Move the sessions of this engine here, a page in a round trip, and yield what came
    of each; or only what would come of it. They stay over there as well. Raise CantList
    if the engine can't say which it has.
    """
    serializer = SessionStore().serializer
    for page in engine.pages():
        arrivals: list[Arrival] = []
        for one in page:
            if isinstance(one, Missed):
                yield Outcome(one.id, "ended" if one.why == "gone" else one.why)
                continue
            try:
                payload = codec.serialize(one.data, serializer)
            except Exception as error:  # Its text may show what the session has.
                yield Outcome(one.id, "unfit", type(error).__name__)
                continue
            arrivals.append(arrival(one, payload))
        if arrivals:
            yield from _moved(engine, arrivals, dry_run)


def _moved(
    engine: Engine, arrivals: Sequence[Arrival], dry_run: bool
) -> Iterator[Outcome]:
    ids = [one.found.id for one in arrivals]
    flow = adoptable(ids) if dry_run else adopt(engine, arrivals)
    for id, (value, moved) in zip(ids, run(flow, client.execute), strict=True):
        yield Outcome(id, "moved" if moved else "ended" if value is None else "here")
