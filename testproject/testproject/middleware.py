"""What the last requests of a session cost, kept in this process's memory."""

import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from django_valkey_sessions import client, keys

SESSIONS = 200
REQUESTS = 6


@dataclass(frozen=True, slots=True)
class Cost:
    """The round trips of a request: for each, the commands sent together."""

    request: str
    status: int
    trips: tuple[tuple[str, ...], ...]


class Costs:
    """The latest costs of the sessions that were used last."""

    def __init__(self, sessions: int, requests: int) -> None:
        self._sessions, self._requests = sessions, requests
        self._costs: OrderedDict[str, deque[Cost]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, id: str, cost: Cost) -> None:
        with self._lock:
            costs = self._costs.setdefault(id, deque(maxlen=self._requests))
            costs.appendleft(cost)
            self._costs.move_to_end(id)
            if len(self._costs) > self._sessions:
                self._costs.popitem(last=False)

    def of(self, id: str) -> list[Cost]:
        """Return the costs of this session's requests, the latest first."""
        with self._lock:
            return list(self._costs.get(id, ()))


costs = Costs(SESSIONS, REQUESTS)


@sync_and_async_middleware
def record_round_trips(get_response: Callable[[HttpRequest], Any]) -> Any:
    """Stands outermost: the session is saved on the way out."""
    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponse:
            with client.record() as trips:
                response = await cast(Awaitable[HttpResponse], get_response(request))
            _keep(request, response, trips)
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponse:
        with client.record() as trips:
            response: HttpResponse = get_response(request)
        _keep(request, response, trips)
        return response

    return middleware


def _keep(
    request: HttpRequest, response: HttpResponse, trips: Iterable[tuple[str, ...]]
) -> None:
    session = getattr(request, "session", None)
    if trips and session is not None and session.session_key:
        cost = Cost(
            f"{request.method} {request.path}", response.status_code, tuple(trips)
        )
        costs.add(keys.session_id(session.session_key), cost)
