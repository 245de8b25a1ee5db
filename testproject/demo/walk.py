"""
Walk through the demo over HTTP as its visitors do, two of them at once where it
matters, and note what was seen.
"""

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookies import SimpleCookie
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

from .ports import HOST, is_free
from .server import Server

#: Milliseconds that the slow requests take, and that each other one may take.
SLOW = 700
FAST = 3000
#: What the site needs to serve WebSockets.
WEBSOCKETS = ("channels", "uvicorn", "websockets")
OTHER_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    cookies: tuple[str, ...]
    body: str
    milliseconds: float

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    step: str
    seen: str
    ok: bool


Step = Callable[[], tuple[str, bool]]


class Visitor:
    """A browser: it keeps its cookies, and fills in the forms' CSRF token."""

    def __init__(self, port: int, agent: str = "Python") -> None:
        self._port, self._agent = port, agent
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Reply:
        return self._send("GET", path)

    def post(self, path: str, **fields: str) -> Reply:
        token = self.cookies.get("csrftoken", "")
        body = urlencode({"csrfmiddlewaretoken": token, **fields})
        return self._send("POST", path, body)

    def copy(self) -> "Visitor":
        """Return another with the same cookies."""
        other = Visitor(self._port, self._agent)
        other.cookies = dict(self.cookies)
        return other

    def _send(self, method: str, path: str, body: str | None = None) -> Reply:
        cookies = "; ".join(f"{name}={self.cookies[name]}" for name in self.cookies)
        headers = {
            "Cookie": cookies,
            "Accept": "text/html,application/json",
            "User-Agent": self._agent,
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        started = time.monotonic()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        taken = (time.monotonic() - started) * 1000
        set_cookies = tuple(response.headers.get_all("Set-Cookie", []))
        self._keep(set_cookies)
        return Reply(response.status, set_cookies, text, taken)

    def _keep(self, set_cookies: tuple[str, ...]) -> None:
        for set_cookie in set_cookies:
            for name, morsel in SimpleCookie(set_cookie).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value


class Walk:
    """The steps. Each builds on those before it."""

    def __init__(self, port: int, server: Server) -> None:
        self._server, self._port = server, port
        self._visitor = Visitor(port)
        self._other = Visitor(port, OTHER_BROWSER)

    def steps(self) -> Iterator[Seen]:
        for name, step in (
            ("log in", self._log_in),
            ("two requests at once, different keys", self._change_at_once),
            ("change inside a nested value", self._change_inside),
            ("end the login of another browser", self._end_other),
            *self._with_rest_framework(),
            *self._with_websockets(),
            *self._with_allauth(),
            ("Valkey stopped", self._stop),
            ("Valkey started again", self._start),
            ("log out while requests are saving", self._log_out),
        ):
            yield _tried(name, step)

    def _log_in(self) -> tuple[str, bool]:
        reply = _logged_in(self._visitor)
        user = self._data()["user"]
        return f"HTTP {reply.status}, logged in as {user}", user == "demo"

    def _change_at_once(self) -> tuple[str, bool]:
        started = time.monotonic()
        with ThreadPoolExecutor() as pool:
            for path in ("/set/left/", "/aset/right/"):
                pool.submit(self._change_slowly, path)
        taken = (time.monotonic() - started) * 1000
        kept = sorted(self._data()["session"].keys() & {"left", "right"})
        # One after the other they would lose nothing, and prove nothing.
        at_once = taken < 2 * SLOW
        seen = f"{' and '.join(kept) or 'nothing'} kept, {taken:.0f} ms for both"
        return seen, kept == ["left", "right"] and at_once

    def _change_inside(self) -> tuple[str, bool]:
        for path in ("/change/", "/change/", "/achange/"):
            self._visitor.post(path, what="basket")
        items = len(self._data()["session"].get("basket", {}).get("items", []))
        return f"{items} of 3 items kept", items == 3

    def _end_other(self) -> tuple[str, bool]:
        _logged_in(self._other)
        page = self._visitor.get("/account/sessions/").body
        named = "Firefox 144, Linux" in page
        _, other = re.findall('name="end" value="([0-9a-f]{32})"', page)
        self._visitor.post("/account/sessions/", end=other)
        users = [
            one.get("/data/").json()["user"] for one in (self._visitor, self._other)
        ]
        listed = "listed" if named else "not listed"
        seen = f"{listed}, then logged in as {users[1]}; here as {users[0]}"
        return seen, named and users == ["demo", None]

    def _with_rest_framework(self) -> Iterator[tuple[str, Step]]:
        if find_spec("rest_framework"):
            yield "count through Django REST framework", self._count

    def _count(self) -> tuple[str, bool]:
        refused = self._visitor.post("/api/session/", csrfmiddlewaretoken="").status
        seen = self._visitor.post("/api/session/").json()
        kept = self._data()["session"].get("visits")
        return (
            f"{kept} visit of {seen['user']}, without a token HTTP {refused}",
            (seen, kept, refused) == ({"user": "demo", "visits": 1}, 1, 403),
        )

    def _with_allauth(self) -> Iterator[tuple[str, Step]]:
        if find_spec("allauth"):
            yield "log in with django-allauth", self._log_in_with_allauth

    def _log_in_with_allauth(self) -> tuple[str, bool]:
        visitor = Visitor(self._port)
        visitor.get("/allauth/login/")
        visitor.post("/set/colour/", value="green")
        old = visitor.copy()
        visitor.post("/allauth/login/", login="demo", password="demo")
        data = visitor.get("/data/").json()
        kept = data["session"].get("colour") == "green"
        # The old key leads nowhere.
        worthless = old.get("/data/").json() == {"user": None, "session": {}}
        seen = (
            f"logged in as {data['user']}, colour {'kept' if kept else 'lost'}, "
            f"old key {'worthless' if worthless else 'still good'}"
        )
        return seen, data["user"] == "demo" and kept and worthless

    def _with_websockets(self) -> Iterator[tuple[str, Step]]:
        if all(map(find_spec, WEBSOCKETS)):
            yield "a page is open while its session ends", self._tell

    def _tell(self) -> tuple[str, bool]:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect
        from websockets.typing import Origin

        _logged_in(self._other)
        site = f"{HOST}:{self._port}"
        with connect(
            f"ws://{site}/live/",
            origin=Origin(f"http://{site}"),
            additional_headers={
                "Cookie": f"sessionid={self._other.cookies['sessionid']}"
            },
        ) as page:
            self._visitor.post("/account/sessions/", end="others")
            try:
                page.recv(FAST / 1000)
            except ConnectionClosed as closed:
                reason = closed.rcvd and closed.rcvd.reason
                return (
                    f"its WebSocket is closed, because it was {reason}",
                    reason == "revoked",
                )
        return "it is told nothing", False

    def _stop(self) -> tuple[str, bool]:
        self._server.stop()
        reply = self._visitor.get("/")
        clear = reply.status == 503 and "does not answer" in reply.body
        fast = reply.milliseconds < FAST
        told = "a clear page" if clear else "no clear page"
        cookies = "a Set-Cookie" if reply.cookies else "no Set-Cookie"
        seen = f"HTTP {reply.status}, {told}, {cookies}, {reply.milliseconds:.0f} ms"
        return seen, clear and fast and not reply.cookies

    def _start(self) -> tuple[str, bool]:
        self._server.start([self._server.port])
        started = time.monotonic()
        while (reply := self._visitor.get("/data/")).status == 503:
            if time.monotonic() - started > 10:
                return "still HTTP 503 after 10 s", False
            time.sleep(0.05)
        taken = (time.monotonic() - started) * 1000
        user = reply.json()["user"]
        return f"logged in as {user}, after {taken:.0f} ms", user == "demo"

    def _log_out(self) -> tuple[str, bool]:
        before = self._visitor.copy()
        with ThreadPoolExecutor() as pool:
            late = [
                pool.submit(self._change_slowly, path)
                for path in ("/set/late/", "/aset/late/")
            ]
            time.sleep(SLOW / 3000)  # They have loaded the session, and wait.
            reply = self._visitor.post("/logout/")
        refused = [future.result().status for future in late]
        revived = before.get("/data/").json() != {"user": None, "session": {}}
        seen = (
            f"HTTP {reply.status}, the late saves HTTP {refused[0]} and {refused[1]}, "
            f"session {'revived' if revived else 'stays ended'}"
        )
        return seen, reply.status == 200 and refused == [400, 400] and not revived

    def _data(self) -> dict[str, Any]:
        return self._visitor.get("/data/").json()

    def _change_slowly(self, path: str) -> Reply:
        return self._visitor.copy().post(f"{path}?slow={SLOW}", value="kept")


def _logged_in(visitor: Visitor) -> Reply:
    visitor.get("/login/")
    return visitor.post("/login/", username="demo", password="demo")


def everything_ended(*ports: int) -> Seen:
    left = [str(port) for port in ports if not is_free(port)]
    seen = f"ports still in use: {', '.join(left)}" if left else "nothing is left"
    return Seen("everything stopped", seen, not left)


def all_well(rows: list[Seen]) -> bool:
    return bool(rows) and all(row.ok for row in rows)


def table(rows: list[Seen]) -> Iterator[str]:
    """Yield the lines of a table of what was seen."""
    step = max(len(row.step) for row in rows)
    seen = max(len(row.seen) for row in rows)
    yield f"{'step':{step}}  {'seen':{seen}}  ok"
    for row in rows:
        yield f"{row.step:{step}}  {row.seen:{seen}}  {'yes' if row.ok else 'NO'}"


def _tried(name: str, step: Step) -> Seen:
    try:
        return Seen(name, *step())
    except Exception as error:  # What comes next is seen nevertheless.
        return Seen(name, f"{type(error).__name__}: {error}"[:100], False)
