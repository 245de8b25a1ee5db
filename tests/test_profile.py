"""The measure that looks into a request: what it counts, and whose that is."""

import os
import sys
import threading
import time
from types import FunctionType

import pytest

from benchmarks import profile, report, serving
from benchmarks.engines import MINE
from benchmarks.ground import Ground
from benchmarks.profile import gil, requests
from benchmarks.profile.owners import CLIENT, DJANGO, ENGINE, owner

from . import servers

OURS = (MINE, "ours-stock")
#: (times of each stage, seconds of each awaited operation)
FEW = (20, 0.05)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What is found of this engine, and of the bare client."""
    server = servers.Server()
    ground = Ground(tmp_path_factory.mktemp("profile"), server, None)
    failed = {}
    try:
        result = profile.measure(ground, False, failed, OURS, (MINE, "glide"), FEW)
    finally:
        server.close()
    assert failed == {}
    return result


@pytest.mark.parametrize("name", OURS)
def test_calls_are_counted_by_whose_they_are(found, name):
    anonymous, read, write = (
        found["calls"][request][name] for request in profile.REQUESTS
    )
    for whose in (ENGINE, CLIENT):
        assert anonymous[whose] < read[whose] < write[whose]
    assert read[DJANGO] > 100


@pytest.mark.parametrize("name", OURS)
def test_releases_of_the_gil_are_counted_by_library(found, name):
    if "impossible" in found["gil"]:
        pytest.skip(found["gil"]["impossible"])
    anonymous, read, write = (
        found["gil"][request][name] for request in profile.REQUESTS
    )
    assert anonymous == {}
    # A write reads before, and takes one command more.
    assert write["cffi"] == 2 * read["cffi"] > 0
    if name == MINE:
        at_once = found["gil"][f"aload, {profile.AT_ONCE} at once"]
        assert at_once[MINE]["cffi"] >= at_once["glide"]["cffi"] > 0


def test_the_stages_of_a_read_and_of_a_write_are_timed(found):
    hot = {stage["name"]: stage["hot"] for stage in found["stages"]}
    assert min(hot[name] for name in ("open", "deserialize", "serialize", "seal")) > 0


@pytest.mark.parametrize("operation", profile.OPERATIONS)
def test_what_is_awaited_is_shared_out(found, operation):
    mine, glide = (found["awaiting"][operation][name] for name in (MINE, "glide"))
    assert sum(mine["microseconds"].values()) == pytest.approx(mine["each"])
    assert mine["calls"][ENGINE] > 10
    assert glide["calls"][CLIENT] > 10
    assert ENGINE not in glide["calls"]


# Whose it is


def in_module(name, function, **names):
    """Return the function as if it stood in this module."""
    return FunctionType(
        function.__code__, {"__name__": name, **names}, closure=function.__closure__
    )


def own_frame():
    return sys._getframe()


@pytest.mark.parametrize(
    ("module", "whose"),
    [
        ("django_valkey_sessions.client.process", ENGINE),
        ("django_valkey.cache", ENGINE),
        ("django.contrib.sessions.backends.base", ENGINE),
        ("django.contrib.auth", DJANGO),
        ("glide_sync.glide_client", CLIENT),
    ],
)
def test_a_function_belongs_to_the_package_of_its_module(module, whose):
    assert owner(in_module(module, own_frame, sys=sys)()) == whose


def test_what_another_library_does_is_done_for_its_caller():
    library = in_module("json.decoder", own_frame, sys=sys)
    assert owner(in_module("redis.client", lambda: library())()) == CLIENT


def test_the_own_calls_of_the_measure_are_nobodys():
    library = in_module("json.decoder", own_frame, sys=sys)
    assert owner(in_module("benchmarks.profile.some", lambda: library())()) is None


def test_each_call_is_counted_once():
    function = in_module("redis", own_frame, sys=sys)
    found = requests.calls_in(
        in_module("benchmarks.profile.some", lambda: [function() for _ in range(5)])
    )
    assert found == {CLIENT: 5}
    assert sys.getprofile() is None


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        ("/v/site-packages/_cffi_backend.cpython-313-x86_64-linux-gnu.so", "cffi"),
        ("/v/site-packages/zstandard/backend_c.cpython-313.so", "zstandard"),
        ("/v/lib-dynload/_socket.cpython-313-x86_64-linux-gnu.so", "socket"),
        ("/v/libpython3.13.so.1.0", "Python"),
    ],
)
def test_a_library_is_called_after_its_package(file, whose):
    assert gil.whose(file) == whose


def test_without_a_compiler_it_is_said_that_nothing_was_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ground = Ground(tmp_path, None, None)
    found = profile._gil(ground, (), (), {})
    table = report.TABLES["gil"]({"profile": {"found": {"gil": found}}})
    assert table == "Not counted: There is no C compiler (cc)."


def test_what_is_preloaded_is_no_longer_so_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv(gil.PRELOAD, "/before.so")
    with gil.preloaded(tmp_path / "gil.so"):
        assert os.environ[gil.PRELOAD] == f"{tmp_path}/gil.so /before.so"
    assert os.environ[gil.PRELOAD] == "/before.so"


def test_a_thread_that_waits_is_seen():
    slept, over = threading.Event(), threading.Event()

    def wait():
        for _ in range(50):
            time.sleep(0.001)
        slept.set()
        over.wait(60)  # Of a thread that has ended nothing is known.

    thread = threading.Thread(target=wait)
    before, _ = serving.switches([os.getpid()])
    thread.start()
    try:
        assert slept.wait(60)
        waits, _ = serving.switches([os.getpid()])
    finally:
        over.set()
        thread.join()
    assert waits - before >= 50
