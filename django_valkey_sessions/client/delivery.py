"""
What happens to a round trip on its way, without a colour: what is sent again, what
never, and when a client is replaced.
"""

import time
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..conf import Place, conf
from ..exceptions import ReplyLost, SessionStoreUnavailable
from ..flow import Call, Command, Flow, OnNode, Reading, Trip
from . import times
from .errors import ReadOnly, Redirected, only
from .places import found
from .reach import Outage, Reach, Replicas

#: A client is replaced if it fails so many seconds after it has failed, and nothing
#: was answered in between (the first failure may have taken a time-out by itself) ...
FAILING = 0.5
#: ... unless one was replaced within the last seconds.
REPLACED_EVERY = 2.0
#: So many parts do the keys of a cluster have here. A success in one says nothing of
#: the others, which may be on a node that hangs.
PARTS = 128
#: Milliseconds that replicas have to confirm a change.
CONFIRMATION = "100"
#: What needs no confirmation: it changes nothing, or nothing that would be missed.
HARMLESS = {
    *("EXISTS", "GET", "GETRANGE", "PEXPIRE", "PTTL"),
    *("SCAN", "ZCARD", "ZRANGE"),
}


class Link:
    """
    A client, and what GLIDE leaves to its user: to replace it when nothing but
    failures comes of it (a node of a cluster hangs, something on the way has forgotten
    the connection), and when the server has become a replica.

    ``send``, ``remake`` and ``close_old`` block in one kind and are awaited in the
    other; everything else is here, without a colour. Where one of several commands has
    failed, what ``send`` returns is a WithErrors: any other list is taken for fine.
    """

    send: Callable[[Trip], Any]
    remake: Callable[[Any], Any]
    remake_soon: Callable[[Any], None]
    close_old: Callable[[], Any]
    connect: Callable[[Place], Any]

    def __init__(self, reach: Reach, replicas: Replicas) -> None:
        self.reach, self.replicas = reach, replicas
        self.in_cluster = conf.CLUSTER
        self.client: Any = None
        self.place: Place = ()
        self.replaced_at = -REPLACED_EVERY
        self.outage = Outage()
        # For each part of the keys, since when nothing but failures has come of it.
        self.failing: dict[int, float] = {}
        # Clients that were replaced, and from when on nobody waits for them any more.
        self.old: list[tuple[float, Any]] = []

    def delivery(self, trip: Trip) -> Flow[Any]:
        """Send, and let replicas confirm what that changes if the settings say so."""
        commands = commands_of(trip)
        if all(map(_is_harmless, commands)):
            return (yield from self._delivery(trip))
        wanted = conf.REPLICAS_ACK
        if not wanted or not self.replicas.may_confirm():
            return (yield from self._delivery(trip))
        waiting: Command = ["WAIT", str(wanted), CONFIRMATION]
        *replies, count = yield from self._delivery((*commands, waiting))
        self.replicas.confirmed(count, wanted)
        return replies if isinstance(trip, tuple) else only(replies)

    def _delivery(self, trip: Trip) -> Flow[Any]:
        """Send, and once more what was not done because it reached the wrong server."""
        used = self.client
        try:
            outcome = yield trip
        except (ReadOnly, ReplyLost) as error:
            outcome = error
        return (yield from self.seen_to(used, trip, outcome))

    def seen_to(self, used: Any, trip: Trip, outcome: Any) -> Flow[Any]:
        """
        Do what the outcome asks for, of a trip that has been sent by this client: that
        is the reply, or the error if it is a ReadOnly or ReplyLost. Return the reply.
        """
        reply = outcome
        if isinstance(outcome, ReplyLost):
            self._failed(used, commands_of(trip), outcome)
            raise outcome
        if isinstance(outcome, ReadOnly):
            self.reach.lost(outcome)
            if not self._may_replace(used):
                raise outcome
            yield self._remaking(used)
            reply = yield trip
        if isinstance(trip, tuple):
            yield from self._completed(used, trip, reply)
        self._note(
            used, commands_of(trip), reply if isinstance(trip, tuple) else [reply]
        )
        if self.old and min(until for until, _ in self.old) < time.monotonic():
            yield Call(self.close_old, self.close_old)
        return reply

    def _completed(
        self, used: Any, commands: tuple[Command, ...], replies: list[Any]
    ) -> Flow[None]:
        """Put replies in the place of errors that say to ask somebody else."""
        refused = [n for n, reply in enumerate(replies) if isinstance(reply, ReadOnly)]
        if refused:
            self.reach.lost(replies[refused[0]])
            if self._may_replace(used):
                try:
                    yield self._remaking(used)
                    again = yield tuple(commands[n] for n in refused)
                except SessionStoreUnavailable as error:
                    again = [error] * len(refused)  # The others were done.
                for n, reply in zip(refused, again, strict=True):
                    replies[n] = reply
        for n, reply in enumerate(replies):
            if isinstance(reply, Redirected):
                try:
                    replies[n] = yield commands[n]
                except ReplyLost as error:
                    replies[n] = error
                    return  # The others may have to wait for the same node.
                except Exception as error:
                    replies[n] = error

    def _note(
        self, used: Any, commands: Sequence[Command], replies: Sequence[Any]
    ) -> None:
        """Take note of what was answered, and of what was not."""
        lost = []
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ReplyLost):
                lost.append((command, reply))
            elif self.failing:
                self.failing.pop(self._part(command), None)
        if lost:
            self._failed(used, [command for command, _ in lost], lost[0][1])
        elif self.reach.lost_at is not None:
            self.reach.answered()

    def _failed(self, used: Any, commands: Sequence[Command], error: ReplyLost) -> None:
        self.reach.failed()
        if used is None or used is not self.client:
            return  # What has just been made, or replaced.
        now = time.monotonic()
        for command in commands:
            self.failing.setdefault(self._part(command), now)
        # A copy, because other threads change it; they may even have emptied it.
        since = min(list(self.failing.values()), default=now)
        if now - since >= FAILING:
            self.reach.lost(error, since)
            if self._may_replace(used):
                self.remake_soon(used)

    def _part(self, command: Command) -> int:
        """Return the part of the keys that this command's belongs to, in a cluster."""
        if not self.in_cluster:
            return 0
        prefix = conf.PREFIX
        keys = (w for w in command if isinstance(w, str) and w.startswith(prefix))
        return crc_hqx(next(keys, "").encode(), 0) % 16384 * PARTS // 16384

    def _may_replace(self, used: Any) -> bool:
        waited = time.monotonic() - self.replaced_at
        return used is not self.client or waited >= REPLACED_EVERY

    def _remaking(self, used: Any) -> Call:
        remake = partial(self.remake, used)
        return Call(remake, remake)

    def remade(self, used: Any) -> Flow[Any]:
        """
        Have a client made in the place of this one, and return it; not two at the same
        time. Raise SessionStoreUnavailable if there is no server for it.
        """
        if self.client is not used:
            return self.client  # Another request has done it.
        try:
            with self.outage:
                place, client = yield from found(self.connect, self.place)
        except SessionStoreUnavailable as error:
            self.reach.lost(error)
            if not self.in_cluster:
                # It leads to nothing that a new one could not find. That of a cluster
                # may still be good for some of the nodes.
                self.use(None, 2 * times.await_budget())
            raise
        if used is not None:
            self.replaced_at = time.monotonic()
        self.place = place
        self.use(client, 2 * times.await_budget())
        return client

    def use(self, client: Any, patience: float) -> None:
        """Use this client, or none; close the one before after so many seconds."""
        before, self.client = self.client, client
        self.failing.clear()
        if before is not None:
            self.old.append((time.monotonic() + patience, before))

    def _due(self) -> list[Any]:
        """Take the clients that are to be closed now out of the old ones."""
        now = time.monotonic()
        due = [client for until, client in self.old if until < now]
        self.old = [one for one in self.old if one[0] >= now]
        return due

    def all(self) -> list[Any]:
        return [*filter(None, [self.client]), *(client for _, client in self.old)]


def _is_harmless(command: Command) -> bool:
    return command[0] in HARMLESS or isinstance(command, Reading)


def commands_of(trip: Trip) -> Sequence[Command]:
    if isinstance(trip, OnNode):
        return (trip.command,)
    return trip if isinstance(trip, tuple) else (trip,)
