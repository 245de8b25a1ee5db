"""What was found to be in order or not, and how it is written."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    text: str
    advice: str = ""  # What to do about it.
    check: str = ""
    node: str = ""  # Of a cluster, if it is not the same with all of them.


Writer = Callable[[Iterable[Finding], OutputWrapper, Style], None]


def write_text(findings: Iterable[Finding], out: OutputWrapper, style: Style) -> None:
    """Write a line for each, when it is found."""
    colours = {OK: style.SUCCESS, WARN: style.WARNING, FAIL: style.ERROR}
    for finding in findings:
        level = colours[finding.level](f"{finding.level:4}")
        where = f"{finding.node}: " if finding.node else ""
        text = f"{where}{finding.text} {finding.advice}".rstrip()
        # Nothing that a server says gets to steer a terminal.
        shown = text if text.isprintable() else repr(text)
        out.write(f"{level}  {finding.check:11}  {shown}")
        out.flush()


def write_json(findings: Iterable[Finding], out: OutputWrapper, style: Style) -> None:
    """Write one array."""
    out.write(json.dumps([asdict(finding) for finding in findings], indent=2))


WRITERS: dict[str, Writer] = {"text": write_text, "json": write_json}
