"""Start the workers, each a process with one engine, and ask them in turns."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .engines import ENGINES, FLOORS, Place, Settings

ROOT = Path(__file__).parent.parent


class Failed(Exception):
    """An engine can't do what it was asked for; the message is its error."""


def environment(name: str, place: Place, **more: Any) -> dict[str, str]:
    """Return the environment of a process that uses this engine."""
    settings: Settings = {}
    if name not in FLOORS:
        engine = ENGINES[name]
        settings = {**engine.settings(place), "SESSION_MIDDLEWARE": engine.middleware}
        for key, value in more.items():
            nested = isinstance(value, dict)
            settings[key] = {**settings.get(key, {}), **value} if nested else value
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDEVMODE": "",
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "BENCH_SETTINGS": json.dumps(settings),
    }


def pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    """Return the pipe to a process that was started with both, and the one back."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process of ours: by the end of what it reads, or by force."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # It has ended already.
            process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


class Member:
    """One worker."""

    def __init__(self, name: str, place: Place, log: IO[bytes], **more: Any) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(place.valkey)],
            cwd=ROOT,
            env=environment(name, place, **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self._pipes = pipes(self._process)

    def ask(self, what: str, *words: Any) -> Any:
        """Return the worker's answer. Raise Failed if it is an error."""
        to, back = self._pipes
        try:
            print(json.dumps({"do": what, "with": words}), file=to, flush=True)
            line = back.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"The process of {self.name} has ended.")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["is"]

    def close(self) -> None:
        end(self._process)


class Crew:
    """Workers by their names. One that fails is dismissed, and it is noted why."""

    def __init__(self, failed: dict[str, str]) -> None:
        self.members: dict[str, Member] = {}
        self.failed = failed

    def each(self, round: int = 0) -> Iterator[Member]:
        """Yield all, in another order in each round."""
        members = [*self.members.values()]
        start = round % len(members) if members else 0
        yield from members[start:] + members[:start]

    def ask(self, member: Member, what: str, *words: Any) -> Any:
        """Return the answer; None if this one fails, or has failed before."""
        if member.name not in self.members:
            return None
        try:
            return member.ask(what, *words)
        except Failed as error:
            self.dismiss(member, str(error))
            return None

    def dismiss(self, member: Member, why: str) -> None:
        self.failed.setdefault(member.name, why)
        self.members.pop(member.name, None)
        member.close()


@contextmanager
def crew(
    names: Iterable[str], place: Place, log: Path, failed: dict[str, str], **more: Any
) -> Iterator[Crew]:
    """Start a worker for each of these; what more they have are settings."""
    found = Crew(failed)
    with log.open("ab") as output:
        try:
            for name in names:
                found.members[name] = Member(name, place, output, **more)
            yield found
        finally:
            for member in [*found.members.values()]:
                member.close()
