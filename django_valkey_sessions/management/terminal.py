"""A terminal looks better with rich, which the extra ``cli`` installs."""

from typing import Any

from django.core.management.base import OutputWrapper


def has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def console_on(stream: OutputWrapper, colour: bool | None) -> Any:
    from rich.console import Console

    # Not the wrapper, which ends each text with a new line.
    file: Any = stream._out
    return Console(file=file, no_color=colour is False, force_terminal=colour or None)
