"""
What happens in one request, from the call of the WSGI application to the end of its
reply: how many Python functions are called, and how often the GIL is released.
"""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any
from wsgiref.util import setup_testing_defaults

from ..visits import REQUESTS
from . import gil
from .owners import owner

#: Requests before those that are looked at, so that all is there that is made once.
WARM = 50
#: So many are looked at. Of these the one in the middle counts: in others a library may
#: look after its connections.
TIMES = 5


class Visitor:
    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        self._application: Any = get_wsgi_application()
        self._cookie = ""

    def get(self, path: str) -> None:
        environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_COOKIE": self._cookie}
        setup_testing_defaults(environ)
        reply = self._application(environ, self._begun)
        b"".join(reply)
        reply.close()

    def _begun(self, status: str, headers: list[tuple[str, str]]) -> None:
        assert status.startswith("200"), status
        for name, value in headers:
            if name == "Set-Cookie" and value.startswith("sessionid="):
                self._cookie = value.partition(";")[0]


def visiting(name: str) -> Callable[[], None]:
    """Return what makes this request, as a visitor who has been there before."""
    request = REQUESTS[name]
    visitor = Visitor()
    for path in request.before:
        visitor.get(path)

    def visit() -> None:
        visitor.get(request.path)

    for _ in range(WARM):
        visit()
    return visit


def calls(name: str) -> dict[str, int]:
    """Return how many Python functions a request calls, by whose they are."""
    visit = visiting(name)
    return middle([calls_in(visit) for _ in range(TIMES)])


def calls_in(work: Callable[[], Any]) -> dict[str, int]:
    found: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (whose := owner(frame)):
            found[whose] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return dict(found)


def gil_releases(name: str) -> dict[str, int]:
    """Return how often a request releases the GIL, by whose library does."""
    if not gil.can_be_seen():
        raise gil.NotCountable("This Python is no shared library.")
    visit = visiting(name)
    return middle([gil.releases(visit) for _ in range(TIMES)])


def middle(found: list[dict[str, int]]) -> dict[str, int]:
    """Return the one whose sum is the median."""
    return sorted(found, key=lambda one: sum(one.values()))[len(found) // 2]
