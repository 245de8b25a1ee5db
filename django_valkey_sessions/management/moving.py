"""What ``import`` moves sessions from, and what it says of them."""

from collections import Counter

from django.contrib.sessions.backends.base import SessionBase
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from .. import previous
from ..backend import SessionStore
from ..moving import Outcome
from ..previous import Engine
from .output import number

#: Django's engines that keep sessions somewhere.
DJANGOS = ("db", "cached_db", "file", "cache")

REASONS = {
    "unreadable": "{id} is empty or can't be read.",
    "unfit": "{id} holds what the serializer can't take: {error}.",
}


def engine(name: str) -> Engine:
    """Return the engine of this name, or at this path. Raise CommandError if none."""
    path = f"django.contrib.sessions.backends.{name}" if name in DJANGOS else name
    try:
        store = import_string(f"{path}.SessionStore")
    except (ImportError, TypeError, ValueError) as error:  # Also of relative paths.
        raise CommandError(
            f"--from is {name!r}, which is no engine: {error}"
        ) from error
    if not (isinstance(store, type) and issubclass(store, SessionBase)):
        raise CommandError(f"--from is {name!r}, whose SessionStore is no session.")
    if issubclass(store, SessionStore):
        raise CommandError(f"--from is {name!r}, which is this engine.")
    return previous.engine_of(store)


class Tally:
    """How many sessions came to what."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self._counts: Counter[str] = Counter()

    def count(self, outcome: Outcome) -> None:
        self._counts[outcome.what] += 1

    def __str__(self) -> str:
        counts = self._counts
        would = "would be " if self.dry_run else ""
        others = {
            "here already": counts["here"],
            "ended since": counts["ended"],
            "expired": counts["expired"],
            "empty or unreadable": counts["unreadable"],
            "not for this serializer": counts["unfit"],
        }
        rest = ", ".join(f"{count:,} {what}" for what, count in others.items() if count)
        left = f" Left alone: {rest}." if rest else ""
        return f"{number(counts['moved'])} {would}moved.{left}"

    def so_far(self) -> str:
        return str(self) if self.dry_run else f"{self} Run it again to go on."


def reason(outcome: Outcome) -> str | None:
    """Say why the session can't be moved; None if it can be, or is gone."""
    text = REASONS.get(outcome.what)
    return text and text.format(id=outcome.id, error=outcome.error)
