"""Who may import whom, and who speaks which language (see the design's rooms)."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_valkey_sessions

PACKAGE = Path(django_valkey_sessions.__file__).parent
NAME = PACKAGE.name

ENGINE = {
    *("client", "codec", "conf", "flow"),
    *("index", "keys", "scripts", "signals"),
}
#: The rooms, and the rooms of the package that each may enter. The exceptions are
#: everybody's.
ROOMS = {
    "__init__": set(),
    "exceptions": set(),
    "flow": set(),
    "keys": set(),
    "merge": set(),
    "conf": {"merge"},
    "shorthand": set(),
    "codec": {"conf", "shorthand"},
    "client": {"__init__", "client", "conf", "flow"},
    "signals": {"flow"},
    "scripts": {"client", "conf", "flow", "keys"},
    "index": {"client", "codec", "conf", "flow", "keys", "scripts"},
    "renewal": {"codec", "keys"},
    "lifetimes": {"conf"},
    # The flows that do not need to know the store.
    "writes": {"client", "codec", "conf", "flow", "index", "scripts"},
    "sweeping": {"codec", "conf", "flow", "index", "keys", "scripts"},
    "arrivals": {*ENGINE, "previous"} - {"signals"},
    # sessions for what the store offers of it, when that is asked for.
    "backend": {
        *(ENGINE | {"arrivals", "lifetimes", "sweeping", "writes"}),
        *("merge", "previous", "renewal", "sessions"),
    },
    "sessions": {*ENGINE, "backend", "devices", "renewal", "sweeping"},
    # What is recorded of a login, which is a part of the session.
    "devices": {"backend", "conf"},
    "previous": {"conf", "flow", "keys"},
    "moving": {"arrivals", "client", "codec", "flow", "previous", "backend"},
    "server": {"client", "conf", "flow"},
    # Which paths are passive is a setting.
    "middleware": {"conf", "flow", "pages"},
    "pages": set(),
    "decorators": set(),
    # What is right depends on whether the site has our middleware.
    "checks": {"client", "codec", "conf", "middleware"},
    "apps": {"checks", "devices"},
    "management": {
        *("management", "sessions", "moving", "previous"),
        *("backend", "conf", "keys", "server", "checks", "codec"),
    },
    # conf also for an exception of its own, keys for what is an id, devices for what is
    # recorded of a login.
    "admin": {"sessions", "models", "conf", "devices", "keys"},
    # What it is the face of in the admin.
    "models": {"sessions"},
    # The store here and there only to tell whether a session is one of ours.
    "channels": {"backend", "index", "sessions", "signals"},
    "views": {"backend", "sessions"},
    "urls": {"views"},
}
#: What only one module may import.
OWNERS = {
    "glide": "client/glides",
    "glide_sync": "client/glides",
    "glide_shared": "client/glides",
    "zstandard": "codec",
    "cryptography": "codec",
    "ua_parser": "devices",
    "channels": "channels",
}
PURE = {"flow", "keys", "merge", "shorthand"}
#: Who spells commands. Only server speaks not of sessions but of the server, for those
#: who run it.
SPEAKERS = {
    *("arrivals", "backend", "index", "scripts"),
    *("server", "sessions", "sweeping", "writes"),
}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


SOURCES = sorted(PACKAGE.rglob("*.py"))
every_source = pytest.mark.parametrize(
    "source", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES]
)


def parse(source):
    return ast.walk(ast.parse(source.read_text()))


def imported(source):
    """Return the dotted names that a module imports, inside functions too."""
    package = [NAME, *source.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in parse(source):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*up, *filter(None, [node.module])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def rooms_entered(source):
    entered = set()
    for name in imported(source):
        first, _, rest = name.partition(".")
        if first == NAME:
            room = rest.partition(".")[0]
            entered.add(room if room in ROOMS else "__init__")
    return entered - {"exceptions"}


def strangers(source):
    return {name.partition(".")[0] for name in imported(source)} - {NAME}


@every_source
def test_every_module_has_a_room(source):
    assert room_of(source) in ROOMS


@every_source
def test_a_room_enters_only_those_it_may(source):
    assert rooms_entered(source) <= ROOMS[room_of(source)]


@every_source
def test_a_foreign_library_is_imported_by_one_module_only(source):
    owned = {name for name in strangers(source) if name in OWNERS}
    module = source.relative_to(PACKAGE).with_suffix("").as_posix()
    assert {OWNERS[name] for name in owned} <= {module}


@pytest.mark.parametrize("library", OWNERS)
def test_the_one_module_does_import_it(library):
    assert library in strangers(PACKAGE / f"{OWNERS[library]}.py")


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_imports_the_standard_library_only(room):
    assert strangers(PACKAGE / f"{room}.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("room", sorted(PURE | {"codec"}))
def test_a_pure_room_knows_nothing_of_the_network(room):
    network = {"socket", "ssl", "http", "urllib", "selectors", "subprocess"}
    assert not strangers(PACKAGE / f"{room}.py") & network


def commands(source):
    """Return the words in capitals with which lists in this module begin."""
    return {
        first.value
        for node in parse(source)
        if isinstance(node, ast.List) and node.elts
        for first in node.elts[:1]
        if isinstance(first, ast.Constant)
        and isinstance(first.value, (str, bytes))
        and re.fullmatch("[A-Z]{2,}", os.fsdecode(first.value))
    }


@every_source
def test_commands_are_spelt_where_the_flows_are(source):
    allowed = {"client": {"PING", "SENTINEL", "WAIT"}}.get(room_of(source), set())
    assert room_of(source) in SPEAKERS or commands(source) <= allowed


def test_the_engine_does_spell_commands():
    assert {"GET", "SET"} <= commands(PACKAGE / "backend.py")
    assert {"UNLINK", "ZREM"} <= commands(PACKAGE / "index.py")


@every_source
def test_lua_is_written_where_the_flows_are(source):
    lua = "redis" + ".call"
    assert room_of(source) in SPEAKERS or lua not in source.read_text()


@pytest.mark.parametrize("room", ["backend", "client", "checks", "apps", "middleware"])
def test_importing_a_room_does_not_import_glide(room):
    """GLIDE costs 0.3 s and 20 MB, which a process that never connects can save."""
    code = (
        "import sys\n"
        "from django.conf import settings\n"
        "settings.configure()\n"
        f"import {NAME}.{room}\n"
        "print(*(n for n in sys.modules if n.partition('.')[0].startswith('glide')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == []
