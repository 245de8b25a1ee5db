"""What can stand on the command line behind each subcommand."""

import argparse
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from . import findings, output, summary
from .choice import SORTS

ID_OR_KEY = (
    "id of a session. Its session key will do, too; but whoever sees your command "
    "line or its history can then use the session"
)


def add_list(parser: CommandParser) -> None:
    parser.add_argument(
        "--format",
        choices=output.WRITERS,
        default="table",
        help="A table, one JSON array, or CSV with a header. Default: table.",
    )
    parser.add_argument(
        "--user",
        metavar="USER",
        help="Only sessions of the user with this id or name.",
    )
    parser.add_argument(
        "--limit", metavar="N", type=_positive, help="At most so many sessions."
    )
    parser.add_argument(
        "--sort",
        choices=SORTS,
        help="Next to expire, last created, or largest first. Needs --limit or --user, "
        "because what is sorted is held in memory.",
    )


def add_clear(parser: CommandParser) -> None:
    parser.add_argument("--all", action="store_true", help="Ends all sessions.")
    parser.add_argument(
        "--user",
        metavar="USER",
        help="Ends those of the user with this id or name.",
    )
    parser.add_argument(
        "--anonymous",
        action="store_true",
        help="Ends those in which nobody is logged in.",
    )
    parser.add_argument(
        "--created-before",
        metavar="DATE",
        help="Ends those that are older: a date or time as in ISO 8601, in the site's "
        "time zone unless it names its own.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Only counts what would be ended."
    )
    parser.add_argument(
        "--noinput",
        "--no-input",
        action="store_false",
        dest="interactive",
        help="Does NOT ask before it ends live sessions.",
    )


def add_show(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help=f"The {ID_OR_KEY}.")
    parser.add_argument(
        "--data",
        action="store_true",
        help="Shows also what the session holds, which is personal data, all as JSON.",
    )


def add_revoke(parser: CommandParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="+", help=f"The {ID_OR_KEY}.")


def add_import(parser: CommandParser) -> None:
    parser.add_argument(
        "--from",
        metavar="ENGINE",
        required=True,
        dest="engine",
        help="db, cached_db, file or cache, which come with Django, or what "
        "SESSION_ENGINE was: a dotted path.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Only counts what would be moved."
    )


def add_stats(parser: CommandParser) -> None:
    parser.add_argument(
        "--format",
        choices=summary.WRITERS,
        default="text",
        help="Text with bars, or one JSON object. Default: text.",
    )


def add_doctor(parser: CommandParser) -> None:
    parser.add_argument(
        "--format",
        choices=findings.WRITERS,
        default="text",
        help="A line for each finding, or one JSON array. Default: text.",
    )
    # It says itself, and with the rest, what is wrong with the settings.
    parser.set_defaults(skip_checks=True)


def add_train(parser: CommandParser) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        required=True,
        help="Where the dictionary is written. There must be no such file: one that "
        "sessions were compressed with may never change.",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=_positive,
        default=10_000,
        help="Looks at so many sessions at most. Default: %(default)s.",
    )


def repeated(
    base: Iterable[tuple[tuple[str, ...], dict[str, Any]]],
) -> CommandParser:
    """
    Return the arguments of all commands, for subcommands to have them, too. Where one
    is not given, what stands before the subcommand is left as it is.
    """
    parser = CommandParser(add_help=False)
    for names, options in base:
        if options.get("action") != "version":
            parser.add_argument(*names, **{**options, "default": argparse.SUPPRESS})
    return parser


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on.")
