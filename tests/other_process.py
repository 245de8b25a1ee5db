"""
Another process that uses sessions, as a second web worker does: it is told what to do
over a pipe, and keeps the sessions that it has opened, however stale they get.
"""

import multiprocessing
from typing import Any

import django
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError


class OtherProcess:
    """Does with a session what it is told to, and waits for the next."""

    def __init__(self, valkey_sessions: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, valkey_sessions), daemon=True
        )
        self._process.start()
        theirs.close()

    def do(self, what: str, *arguments: Any) -> Any:
        """Do it; return its result, or raise what went wrong."""
        self._pipe.send((what, arguments))
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        self._pipe.close()
        self._process.join()
        self._process.close()


def _serve(pipe: Any, valkey_sessions: dict[str, Any]) -> None:
    django.setup()
    settings.VALKEY_SESSIONS = valkey_sessions
    actions = Actions()
    while True:
        try:
            what, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(getattr(actions, what)(*arguments))
        except Exception as error:
            pipe.send(error)


class Actions:
    """Each returns the session's key, or None if the session was ended meanwhile."""

    def __init__(self) -> None:
        self.opened: dict[int, Any] = {}

    def open(self, number: int, session_key: str) -> str | None:
        from django_valkey_sessions.backend import SessionStore

        session = self.opened[number] = SessionStore(session_key)
        session.items()
        return session.session_key

    def login(self, number: int, user: str) -> str | None:
        from django_valkey_sessions.backend import SessionStore

        session = self.opened[number] = SessionStore()
        session["visits"] = 0
        session.save()
        session.cycle_key()
        session["_auth_user_id"] = user
        return self._saved(session)

    def save(self, number: int) -> str | None:
        session = self.opened[number]
        session["visits"] = session.get("visits", 0) + 1
        return self._saved(session)

    def become(self, number: int, user: str | None) -> str | None:
        session = self.opened[number]
        session["_auth_user_id"] = user
        if user is None:
            del session["_auth_user_id"]
        return self._saved(session)

    def clear(self, number: int) -> str | None:
        session = self.opened[number]
        session.clear()
        return self._saved(session)

    def set_expiry(self, number: int, seconds: int) -> str | None:
        self.opened[number].set_expiry(seconds)
        return self._saved(self.opened[number])

    def touch(self, number: int) -> str | None:
        session = self.opened[number]
        return session.session_key if session.touch() else None

    def cycle_key(self, number: int) -> str | None:
        session = self.opened[number]
        if session.session_key is not None:
            session.cycle_key()
        return session.session_key

    def renew(self, number: int) -> str | None:
        session = self.opened[number]
        try:
            session.renew()
        except UpdateError:
            return None
        key: str = session.session_key
        return key

    def logout(self, number: int) -> None:
        self.opened[number].flush()

    def _saved(self, session: Any) -> str | None:
        if session.session_key is None:
            return None
        try:
            session.save()
        except UpdateError:
            return None
        return session.session_key
