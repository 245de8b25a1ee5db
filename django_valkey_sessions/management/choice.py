"""Which sessions are meant."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from .. import keys, sessions
from ..conf import conf
from ..sessions import SessionInfo

Where = Callable[[SessionInfo], bool]

#: Which sessions come first.
SORTS: dict[str, Callable[[SessionInfo], Any]] = {
    "expires": lambda i: i.expires.timestamp() if i.expires else float("inf"),
    "created": lambda i: -i.created.timestamp() if i.created else float("inf"),
    "size": lambda i: -i.size,
}


def candidates(user: str | None) -> Iterable[SessionInfo]:
    """Return the sessions of the user with this id, or all."""
    if user is None:
        return sessions.iterate()
    return (info for info in sessions.iterate() if info.user_id == user)


def where(user: str | None, anonymous: bool, before: datetime | None) -> Where:
    """Return what is true of the sessions that are chosen."""

    def chosen(info: SessionInfo) -> bool:
        if info.created is None:
            return False  # Unreadable: somebody may be logged in all the same.
        if before is not None and info.created >= before:
            return False
        return info.user_id == user if anonymous or user is not None else True

    return chosen


def ids(text: str) -> list[str]:
    """Return the ids that are meant by an id or a session key: some can be both."""
    own = [text] if keys.stored_id("", text) else []
    return [*own, keys.session_id(text)]


def moment(text: str | None) -> datetime | None:
    """Return the time that is meant; a date is its first moment on the site."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"--created-before is {text!r}: give a date such as 2026-03-01, or a time "
            "such as 2026-03-01T18:30."
        ) from None
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def server() -> str:
    """Name the server that the sessions are on, without user and password."""
    if conf.CLIENT is not None:
        return "the server that CLIENT in VALKEY_SESSIONS connects to"
    database = conf.LOCATION.database
    return f"{conf.LOCATION}{f', database {database}' if database else ''}"
