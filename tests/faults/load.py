"""Visitors of a site who change their sessions all the time, and look what is left."""

import http.client
import re
import threading
import time
import uuid
from collections import Counter

from demo.walk import Reply, Visitor

from ..servers import wait_until

VISITORS = 4
#: Seconds between a visitor's requests.
REST = 0.02
#: Seconds after which a request is taken to hang. A worker may have to answer others
#: first, each of which waits for the client's time-outs.
HANGS = 10
#: Seconds within which the site works again when the fault is over.
RECOVERY = 10


class Visit(threading.Thread):
    """One of them. Each of its changes is a number, higher than the one before."""

    def __init__(self, port: int, ended: threading.Event) -> None:
        super().__init__()
        self._visitor = logged_in(port)
        self._ended = ended
        self.key = self._visitor.cookies["sessionid"]
        #: What nobody else has in a session.
        self.mine = uuid.uuid4().hex
        wait_until(
            lambda: self._visitor.post("/set/mine/", value=self.mine).status == 302
        )
        self.tried = 0
        #: The last change that the site said was saved.
        self.saved = 0
        self.saved_at = 0.0
        self.changes = 0  # How many were saved.
        self.slowest = 0.0
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(REST):
            self._change("set")
            self._look()
            self._change("aset")

    def _change(self, how: str) -> None:
        self.tried += 1
        reply = self._send("POST", f"/{how}/number/", value=str(self.tried))
        if reply is not None and reply.status == 302:
            self.saved, self.saved_at = self.tried, time.monotonic()
            self.changes += 1

    def _look(self) -> None:
        reply = self._send("GET", "/data/")
        if reply is None or reply.status != 200:
            return
        seen = reply.json()
        if seen["user"] != "demo":
            self.wrong.append("logged out")
        elif seen["session"]["mine"] != self.mine:
            self.wrong.append("somebody else's session")
        elif not self.saved <= int(seen["session"].get("number", 0)) <= self.tried:
            self.wrong.append(f"{self.saved} was saved, and lost")

    def _send(self, method: str, path: str, **fields: str) -> Reply | None:
        began = time.monotonic()
        try:
            ask = self._visitor.post if method == "POST" else self._visitor.get
            reply = ask(path, **fields)
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"no answer: {error!r}")
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)
        if reply.status == 503:
            self.errors[reason_of(reply)] += 1
        elif reply.status not in (200, 302):
            self.wrong.append(f"HTTP {reply.status}")
        if self._visitor.cookies.get("sessionid") != self.key:
            self.wrong.append("the cookie was changed")
        return reply


class Load:
    """All of them, within a with statement."""

    def __init__(self, port: int) -> None:
        self._ended = threading.Event()
        self.visits = [Visit(port, self._ended) for _ in range(VISITORS)]

    def __enter__(self) -> "Load":
        for visit in self.visits:
            visit.start()
        self.wait_until_saved()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for visit in self.visits:
            visit.join()

    def wait_until_saved(self) -> float:
        """Wait until all have saved a change; return how many seconds that took."""
        began = time.monotonic()
        wait_until(lambda: all(v.saved_at > began for v in self.visits), RECOVERY)
        return time.monotonic() - began

    def wait_for_error(self, *causes: str) -> None:
        """Wait until somebody is told this."""
        wait_until(
            lambda: any(cause in text for text in self.errors() for cause in causes)
        )

    def errors(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for visit in self.visits:
            total.update(dict(visit.errors))
        return total

    def check(self) -> None:
        """Nobody was logged out, nothing was lost, and nothing hung."""
        wrong = [wrong for visit in self.visits for wrong in visit.wrong]
        assert wrong == [], wrong
        assert self.slowest() < HANGS

    def slowest(self) -> float:
        return max(visit.slowest for visit in self.visits)


def logged_in(port: int) -> Visitor:
    """Return a visitor who is logged in. Each of the site's workers has to connect."""
    visitor = Visitor(port)
    wait_until(lambda: log_in(visitor).status == 302)
    return visitor


def log_in(visitor: Visitor) -> Reply:
    visitor.get("/login/")
    return visitor.post("/login/", username="demo", password="demo")


def reason_of(reply: Reply) -> str:
    """Return what the site's page says of the cause of an error."""
    found = re.search(r'<p class="reason">([^<]*)', reply.body)
    return found[1] if found else f"no reason: {reply.body[:300]}"
