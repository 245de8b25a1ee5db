import heapq
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.core.management.color import no_style
from django.db import DatabaseError

from ... import server, sessions
from ...backend import SessionStore
from ...conf import conf
from ...exceptions import SessionStoreUnavailable
from ...moving import move
from ...previous import CantList, CantRead
from ...sessions import SessionInfo
from .. import arguments, choice, doctor, findings, moving, summary, training
from ..findings import FAIL, Finding
from ..output import WRITERS, as_json, number, write_facts
from ..progress import Tick, progress
from ..tally import Tally
from ..training import Trained
from ..users import user_id


class Command(BaseCommand):
    help = (
        "Lists, shows and ends the sessions that Valkey holds, and moves others there."
    )

    # The command line.

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        self._base: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_base_argument(
        self, parser: CommandParser, *args: str, **kwargs: Any
    ) -> None:
        super().add_base_argument(parser, *args, **kwargs)
        self._base.append((args, kwargs))

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(
            title="subcommands", dest="subcommand", metavar="SUBCOMMAND", required=True
        )
        skipping = (
            ("--skip-checks",),
            {"action": "store_true", "help": "Skip system checks."},
        )
        for name, add, does in (
            ("list", arguments.add_list, "Lists the sessions."),
            (
                "clear",
                arguments.add_clear,
                "Ends the sessions that are chosen. Without a choice it removes what "
                "has expired, as clearsessions does.",
            ),
            ("show", arguments.add_show, "Shows one session."),
            ("revoke", arguments.add_revoke, "Ends the sessions that are named."),
            (
                "import",
                arguments.add_import,
                "Moves the sessions of another engine here. They stay there as well.",
            ),
            ("stats", arguments.add_stats, "Shows all sessions in figures."),
            (
                "doctor",
                arguments.add_doctor,
                "Looks whether the server and the settings keep sessions safe, and "
                "says what to do if not. Ends with 1 if it finds a FAIL; what it warns "
                "of does not count.",
            ),
            (
                "train",
                arguments.add_train,
                "Makes a dictionary from the site's own sessions, with which they take "
                "less room, and says how to bring it into use.",
            ),
        ):
            add(
                subcommands.add_parser(
                    name,
                    help=does,
                    description=does,
                    parents=[arguments.repeated([*self._base, skipping])],
                    formatter_class=DjangoHelpFormatter,
                )
            )

    # From here to a subcommand and back.

    def handle(self, *args: Any, **options: Any) -> None:
        self._verbosity = options["verbosity"]
        self._colour: bool | None = None
        if options["no_color"] or options["force_color"]:
            self._colour = not options["no_color"]
        elif os.environ.get("NO_COLOR"):  # Which rich knows, and Django does not.
            self._colour = False
            self.style = no_style()
        # Tells how far it got, if it does not get to the end.
        self._reached: Callable[[], str] = lambda: ""
        subcommands = {
            "list": self._list,
            "clear": self._clear,
            "show": self._show,
            "revoke": self._revoke,
            "import": self._import,
            "stats": self._stats,
            "doctor": self._doctor,
            "train": self._train,
        }
        try:
            subcommands[options["subcommand"]](options)
            self.stdout.flush()
        except (SessionStoreUnavailable, ImproperlyConfigured) as error:
            raise CommandError(f"{error} {self._how_far()}".rstrip()) from error
        except BrokenPipeError:  # As of list, piped into head.
            if options.get("stdout"):
                raise
            self._let_go_of_stdout()
        except KeyboardInterrupt:
            self.stderr.write(f"\nInterrupted. {self._how_far()}".rstrip())
            try:
                self.stdout.flush()
            except BrokenPipeError:
                if not options.get("stdout"):
                    self._let_go_of_stdout()
            sys.exit(130)

    # The subcommands.

    def _list(self, options: dict[str, Any]) -> None:
        sort, limit, user = options["sort"], options["limit"], options["user"]
        if sort and limit is None and user is None:
            raise CommandError(
                "--sort holds in memory what it sorts: say with --limit how many "
                "sessions these may be. All of them are for a pipe to sort: "
                "list --format csv | sort."
            )
        infos = choice.candidates(None if user is None else user_id(user))
        if sort:
            with self._progress("Looking at sessions") as tick:
                first = choice.SORTS[sort]
                read = _ticking(infos, tick)
                infos = heapq.nsmallest(limit or sys.maxsize, read, key=first)
        listed = 0
        self._reached = lambda: f"{number(listed)} listed." if listed else ""

        def counted() -> Iterator[SessionInfo]:
            nonlocal listed
            for info in islice(infos, limit):
                yield info
                listed += 1

        # On a terminal, rows that appear are progress enough.
        with self._progress("Listing sessions", self.stdout.isatty()) as tick:
            shown = _ticking(counted(), tick)
            WRITERS[options["format"]](shown, self.stdout, self._colour)
        if not listed:
            self._note("There are no such sessions." if user else "There are none.")

    def _clear(self, options: dict[str, Any]) -> None:
        user, anonymous = options["user"], options["anonymous"]
        before = choice.moment(options["created_before"])
        chosen = anonymous or user is not None or before is not None
        if options["all"] and chosen:
            raise CommandError("--all leaves nothing to choose: give it alone.")
        if user is not None and anonymous:
            raise CommandError("--user and --anonymous exclude each other.")
        if options["all"]:
            self._clear_all(options)
        elif chosen:
            user = None if user is None else user_id(user)
            where = choice.where(user, anonymous, before)
            self._clear_chosen(options, user, where)
        elif options["dry_run"]:
            raise CommandError(
                "--dry-run counts the live sessions that would be ended, and without "
                "a choice these are none: choose with --all, --user, --anonymous or "
                "--created-before."
            )
        else:
            SessionStore.clear_expired()
            self._say("What had expired is removed.")

    def _clear_all(self, options: dict[str, Any]) -> None:
        with self._progress("Counting sessions"):
            total = sessions.count()
        if not self._may_end(total, options):
            return
        self._reached = lambda: f"{number(sessions.count())} of {total:,} left."
        with self._progress("Ending sessions"):
            ended = sessions.clear()
        self._say(f"{number(ended)} ended.")

    def _clear_chosen(
        self, options: dict[str, Any], user: str | None, where: choice.Where
    ) -> None:
        with self._progress("Looking at sessions") as tick:
            read = _ticking(choice.candidates(user), tick)
            total = sum(where(info) for info in read)
        if not self._may_end(total, options):
            return
        chosen = 0
        self._reached = lambda: f"At most {number(chosen)} of {total:,} ended."
        with self._progress("Ending sessions", total=total) as tick:

            def ending(info: SessionInfo) -> bool:
                nonlocal chosen
                if not where(info):
                    return False
                chosen += 1
                tick()
                return True

            ended = sessions.clear(ending)
        self._say(f"{number(ended)} ended.")

    def _show(self, options: dict[str, Any]) -> None:
        found = (sessions.get(id) for id in choice.ids(options["id"]))
        info = next(filter(None, found), None)
        if info is None:
            raise CommandError("There is no session with this id or key.")
        if not options["data"]:
            write_facts(info, self.stdout)
            return
        if info.created is None:
            raise CommandError(
                f"The session {info.id} can't be read: it is damaged, of another "
                "application, or sealed with a secret that is neither SECRET_KEY nor "
                "in SECRET_KEY_FALLBACKS."
            )
        self._note("What follows is personal data.")
        self.stdout.write(as_json(info))

    def _revoke(self, options: dict[str, Any]) -> None:
        texts = list(dict.fromkeys(options["ids"]))
        ended, missing = 0, []
        self._reached = lambda: f"{number(ended)} of {len(texts):,} ended."
        for text in texts:
            ids = choice.ids(text)
            done = next((id for id in ids if sessions.revoke(id)), None)
            if done is None:
                missing.append(ids[0])
            else:
                ended += 1
                self._say(f"{done} is ended.", level=2)
        for id in missing:
            self._note(f"There is no session {id}.")
        if not ended:
            raise CommandError("No session was ended.")
        self._say(f"{number(ended)} ended.")

    def _import(self, options: dict[str, Any]) -> None:
        engine, dry_run = moving.engine(options["engine"]), options["dry_run"]
        tally = moving.Tally(dry_run)
        self._reached = tally.so_far
        what = "Looking at sessions" if dry_run else "Moving sessions"
        try:
            with self._progress(what, total=engine.total()) as tick:
                for outcome in move(engine, dry_run):
                    tally.count(outcome)
                    tick()
                    if reason := moving.reason(outcome):
                        self._say(reason, level=2)
        except CantList as error:
            raise CommandError(
                f"{error}. With PREVIOUS_ENGINE in VALKEY_SESSIONS each session is "
                "moved when it is used."
            ) from error
        except (CantRead, DatabaseError, PermissionError) as error:
            raise CommandError(f"{error} {tally.so_far()}") from error
        self._say(str(tally))

    def _stats(self, options: dict[str, Any]) -> None:
        tally = Tally(datetime.now(UTC))
        self._reached = lambda: f"{number(tally.total)} looked at."
        nodes = server.nodes()
        with self._progress("Looking at sessions") as tick:
            for info in _ticking(sessions.iterate(), tick):
                tally.add(info)
        write = summary.WRITERS[options["format"]]
        write(tally, nodes, self.stdout, self._colour)

    def _doctor(self, options: dict[str, Any]) -> None:
        failures = 0

        def counted() -> Iterator[Finding]:
            nonlocal failures
            for finding in doctor.examine():
                failures += finding.level == FAIL
                yield finding

        style = self.style if self.stdout.isatty() or self._colour else no_style()
        findings.WRITERS[options["format"]](counted(), self.stdout, style)
        if failures:
            raise CommandError(f"{failures} problem{'s' if failures > 1 else ''}.")

    def _train(self, options: dict[str, Any]) -> None:
        path, limit = Path(options["output"]).absolute(), options["samples"]
        if path.exists():
            raise CommandError(f"{path} is there already, and is left as it is.")
        dictionary = training.next_number()
        if dictionary is None:
            raise CommandError(
                "DICTIONARY in VALKEY_SESSIONS has every number there is: take out "
                "those with which no session is compressed any more."
            )
        found: list[training.Sample] = []
        self._reached = lambda: f"{number(len(found))} read. Nothing is written."
        with self._progress("Reading sessions", total=limit) as tick:
            # Ids are hashes, and in their order they come: the first are a fair choice.
            samples = training.samples(sessions.iterate())
            for sample in islice(samples, limit):
                found.append(sample)
                tick()
        if len(found) < training.MINIMUM:
            raise CommandError(
                f"There is too little to learn from: {number(len(found))}, and at "
                f"least {training.MINIMUM} are needed."
            )
        trained = self._trained(found, dictionary)
        try:
            training.write(path, trained.content)
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}.") from error
        self._say(training.instructions(path, trained))

    def _trained(self, found: list[training.Sample], dictionary: int) -> Trained:
        try:
            trained = training.train(found, dictionary, SessionStore().serializer)
        except ValueError as error:
            raise CommandError(f"There is no dictionary. {error}") from error
        self._say(
            f"Learnt from {number(len(found) - trained.measured)}. The data of "
            f"{trained.measured:,} others take, as the median,\n"
            f"{trained.before:5.0f} bytes with the dictionary that is in use, and\n"
            f"{trained.after:5.0f} bytes with the new one."
        )
        if trained.after >= trained.before:
            raise CommandError("It is no better, so nothing is written.")
        return trained

    # What they need.

    def _may_end(self, total: int, options: dict[str, Any]) -> bool:
        """Return True if so many sessions are to be ended. Ask, unless told not to."""
        if options["dry_run"]:
            self.stdout.write(f"{number(total)} would be ended.")
            return False
        if not total or not options["interactive"]:
            return True
        self._reached = lambda: "No session was ended."
        # Not as the prompt of input(), which may go where stdout is redirected to.
        self.stderr.write(
            f"This ends {number(total)} with the prefix {conf.PREFIX!r} on "
            f"{choice.server()}.\nWhoever uses one of them is logged out and loses "
            "what it holds.\nType 'yes' to continue, or 'no' to cancel: ",
            self.style.WARNING,
            ending="",
        )
        self.stderr.flush()
        try:
            agreed = input() == "yes"
        except EOFError:
            self.stderr.write()
            agreed = False
        if not agreed:
            raise CommandError("Cancelled. No session was ended.")
        return True

    def _progress(
        self, what: str, quiet: bool = False, total: int | None = None
    ) -> AbstractContextManager[Tick]:
        err = None if quiet or not self._verbosity else self.stderr
        return progress(what, err, self._colour, total)

    def _say(self, text: str, level: int = 1) -> None:
        if self._verbosity >= level:
            self.stdout.write(text)

    def _note(self, text: str) -> None:
        if self._verbosity:
            self.stderr.write(text, self.style.WARNING)

    def _how_far(self) -> str:
        try:
            return self._reached()
        except SessionStoreUnavailable:
            return ""

    def _let_go_of_stdout(self) -> None:
        """Nobody reads it any more, and Python would complain about that at its end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _ticking(infos: Iterable[SessionInfo], tick: Tick) -> Iterator[SessionInfo]:
    for info in infos:
        tick()
        yield info
