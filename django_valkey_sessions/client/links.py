"""
The two kinds of client, blocking and awaiting, with what carries trips to them.
"""

import asyncio
import contextlib
import threading
from logging import getLogger
from typing import Any

from ..conf import Place, conf
from ..exceptions import ReplyLost, SessionStoreUnavailable
from ..flow import OnNode, Trip, arun, run
from . import times
from .deadlines import Deadline, Deadlines
from .delivery import Link
from .errors import ReadOnly, WithErrors, no_answer, told, translated
from .forks import watchdog_lives
from .glides import (
    batch_of,
    cluster_scan,
    glide_error,
    new_async_client,
    new_client,
    replies_of,
    route,
    scanned,
)
from .reach import Reach, Replicas

logger = getLogger("django_valkey_sessions")


class Blocking(Link):
    """The blocking client of a process, shared by its threads."""

    def __init__(self, reach: Reach, replicas: Replicas) -> None:
        super().__init__(reach, replicas)
        self.lock = threading.Lock()
        self.watchdog_lives: bool | None = None  # None: nothing was sent yet.

    def carry(self, trip: Trip) -> Any:
        """Send, and see to what becomes of it: mostly nothing, so that comes first."""
        if conf.REPLICAS_ACK:
            return run(self.delivery(trip), self.send)
        used = self.client
        try:
            outcome = self.send(trip)
        except (ReadOnly, ReplyLost) as error:
            outcome = error
        else:
            fine = not isinstance(outcome, WithErrors)
            if fine and not (self.failing or self.old) and self.reach.lost_at is None:
                return outcome
        return run(self.seen_to(used, trip, outcome), self.send)

    def send(self, trip: Trip) -> Any:
        client = self.client or self.remake(None)
        try:
            if isinstance(trip, tuple):
                return replies_of(client.exec(batch_of(self.in_cluster)(trip), False))
            if isinstance(trip, OnNode):
                return client.custom_command(trip.command, route(trip.slot))
            if self.in_cluster and trip[0] == "SCAN":
                return scanned(client.scan(*cluster_scan("glide_sync", trip)))
            if self.in_cluster and self.watchdog_lives:
                # Which follows where a slot has moved to, in any case.
                return client.custom_command(trip)
            # This needs no watchdog, and GLIDE does not print what the server refuses.
            (reply,) = client.exec(batch_of(self.in_cluster)((trip,)), False)
        except glide_error() as error:
            raise translated(error) from told(error)
        if isinstance(reply, Exception):
            reply = translated(reply)  # Under the same name: reports show variables.
            raise reply
        return reply

    def remake(self, used: Any) -> Any:
        with self.lock:
            return run(self.remade(used), self.send)

    def remake_soon(self, used: Any) -> None:
        if not self.lock.locked():  # Else somebody is at it.
            threading.Thread(target=self._remake, args=[used], daemon=True).start()

    def _remake(self, used: Any) -> None:
        with contextlib.suppress(SessionStoreUnavailable):  # Which is logged.
            self.remake(used)

    def connect(self, addresses: Place) -> Any:
        client = new_client(addresses)
        if self.watchdog_lives is None:
            self.watchdog_lives = watchdog_lives(client)
        return client

    def close_old(self) -> None:
        if not self.lock.acquire(blocking=False):
            return  # A client is being made, which may take a second.
        due = self._due()
        self.lock.release()
        for client in due:
            if client is not self.client:  # CLIENT may have returned it again.
                client.close()

    def close(self) -> None:
        with self.lock:
            clients = {id(client): client for client in self.all()}
            self.client, self.old = None, []
        for client in clients.values():
            client.close()


class Native(Link):
    """The awaiting client of the one event loop that has it."""

    def __init__(
        self,
        reach: Reach,
        replicas: Replicas,
        loop: asyncio.AbstractEventLoop,
        predecessor: "Native | None",
    ) -> None:
        super().__init__(reach, replicas)
        self.loop = loop
        self.lock = asyncio.Lock()
        self.expired = 0
        self.given_up = False
        self.budget = times.await_budget()
        self.deadlines = Deadlines(loop, self.budget)
        self.remaking: asyncio.Task[None] | None = None
        if predecessor is not None:
            # Nobody waits any more: their loop has ended.
            self.old = [(0.0, client) for client in predecessor.all()]

    async def carry(self, trip: Trip) -> Any:
        """See Blocking.carry()."""
        if conf.REPLICAS_ACK:
            return await arun(self.delivery(trip), self.send)
        used = self.client
        try:
            outcome = await self.send(trip)
        except (ReadOnly, ReplyLost) as error:
            outcome = error
        else:
            fine = not isinstance(outcome, WithErrors)
            if fine and not (self.failing or self.old) and self.reach.lost_at is None:
                return outcome
        return await arun(self.seen_to(used, trip, outcome), self.send)

    async def send(self, trip: Trip) -> Any:
        client = self.client
        try:
            with Deadline(self.deadlines):
                client = client or await self._connected()
                if isinstance(trip, tuple):
                    together = batch_of(self.in_cluster)(trip)
                    reply: Any = replies_of(await client.exec(together, False))
                elif isinstance(trip, OnNode):
                    reply = await client.custom_command(trip.command, route(trip.slot))
                elif self.in_cluster and trip[0] == "SCAN":
                    reply = scanned(await client.scan(*cluster_scan("glide", trip)))
                else:
                    reply = await client.custom_command(trip)
            self.expired = 0
            return reply
        except TimeoutError as error:
            # GLIDE's own time-out did not arrive, so its pipe is not read.
            self._give_up(client)
            raise no_answer() from error
        except glide_error() as error:
            raise translated(error) from told(error)

    async def _connected(self) -> Any:
        client = await self._remake(None)
        await self.close_old()
        return client

    async def _remake(self, used: Any) -> Any:
        async with self.lock:
            return await arun(self.remade(used), self.send)

    async def remake(self, used: Any) -> Any:
        try:
            async with asyncio.timeout(self.budget):
                return await self._remake(used)
        except TimeoutError as error:
            self._give_up(used)
            raise no_answer() from error

    def remake_soon(self, used: Any) -> None:
        if not self.lock.locked():
            self.remaking = self.loop.create_task(self._remake_aside(used))

    async def _remake_aside(self, used: Any) -> None:
        with contextlib.suppress(SessionStoreUnavailable):  # Which is logged.
            await self.remake(used)

    async def connect(self, addresses: Place) -> Any:
        return await new_async_client(addresses)

    def _give_up(self, client: Any) -> None:
        """Replace the client; the second in a row that never answers is the last."""
        if client is not self.client:
            return  # Another request has noticed before.
        self.expired += 1
        self.given_up = self.expired > 1
        self.use(None, 0)
        if self.given_up:
            logger.warning(
                "GLIDE's awaiting client does not answer in this event loop. Async "
                "session access goes through threads from now on."
            )

    async def close_old(self) -> None:
        for client in self._due():
            await client.close()

    def close(self) -> None:
        if self.remaking is not None and self.loop.is_running():
            self.loop.call_soon_threadsafe(self.remaking.cancel)
        for client in self.all():
            if self.loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), self.loop)
            else:
                # In a thread, because a loop may be running in this one.
                closing = threading.Thread(target=asyncio.run, args=[client.close()])
                closing.start()
                closing.join()
