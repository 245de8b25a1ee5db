"""
The benchmarks themselves, without the rivals: what is counted of this engine, and what
becomes of figures. What is timed is no test.
"""

import itertools
import json
import os
import re
import socket
import threading
import time
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import costs, data, figures, pages, report, run, serving, targets
from benchmarks.charts import Axis, Bar, Line, bars, from_zero, in_powers, lines
from benchmarks.engines import MINE, OTHERS
from benchmarks.ground import Ground
from benchmarks.growth import report as growing
from benchmarks.growth import sizing
from benchmarks.proxies import Counting, Delaying
from benchmarks.visits import REQUESTS
from django_valkey_sessions import client, codec

from . import servers


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """What each request costs: with our middleware, and with Django's."""
    server = servers.Server()
    failed = {}
    ground = Ground(tmp_path_factory.mktemp("bench"), server, None)
    try:
        found = costs.measure(ground, False, failed, (MINE, "ours-stock"))
    finally:
        server.close()
    assert failed == {}
    return found


#: As the project's own limits: see benchmarks/targets.py.
TRIPS = {
    "anonymous": 0,
    "read": 1,
    "read and renew": 1,
    "write": 2,
    "first write": 1,
    "fresh login": 2,
    "login with a session": 3,
    "logout": 2,
}


@pytest.mark.parametrize("middleware", [MINE, "ours-stock"])
@pytest.mark.parametrize("request_", TRIPS)
def test_a_request_takes_no_more_round_trips(counted, request_, middleware):
    # Django's middleware does not let the two writes of a login be one.
    more = request_ == "login with a session" and middleware != MINE
    assert counted[request_][middleware]["trips"] == TRIPS[request_] + more


def test_reading_and_renewing_sends_little(counted):
    for cost in counted["read and renew"].values():
        assert cost["sent"] <= 125


def test_a_fresh_login_sends_little(counted):
    for cost in counted["fresh login"].values():
        assert cost["sent"] <= 560


def test_what_is_sent_in_pieces_is_one_trip(own_server):
    proxy = Counting(own_server.port)
    with own_server.connect() as direct:
        direct.set("key", "value")
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        for piece in (b"GET k", b"ey\r\nGET", b" key\r\n"):
            connection.sendall(piece)
        reply = b""
        while len(reply) < 2 * len(b"$5\r\nvalue\r\n"):
            reply += connection.recv(100)
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
    proxy.close()
    assert proxy.counts.sent == len(b"GET key\r\nGET key\r\nPING\r\n")
    assert proxy.counts.received == len(reply) + len(b"+PONG\r\n")


def test_what_is_delayed_takes_as_long(own_server):
    relay = Delaying(own_server.port, 0.02)
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        began = time.monotonic()
        connection.sendall(b"PING\r\n")
        connection.recv(100)
    relay.close()
    assert time.monotonic() - began >= 0.02


def test_a_ratio_is_of_figures_of_the_same_round():
    # The second round had a busy machine, which says nothing of the two.
    rounds = {MINE: [1.0, 10.0, 1.0], "other": [2.0, 20.0, 2.0]}
    found = figures.ratios(rounds, MINE)
    assert found["other"] == {
        "median": 2.0,
        "low": 2.0,
        "high": 11.0,
        "rounds": 3,
        "ratio": 2.0,
    }
    assert figures.ratios({"other": [1.0]}, MINE)["other"]["median"] == 1.0


# What becomes of them


@pytest.fixture
def results():
    """What the measures found, each for two engines."""

    def two(mine, other):
        return figures.ratios({MINE: mine, "django-cache": other}, MINE)

    about = {
        "date": "2026-11-24",
        "cpu": "some",
        "cores": 2,
        "load": 0.1,
        "system": "Linux",
        "python": "3.13.0",
        "server": "Valkey 9.1.2",
        "full": False,
        "seconds": 5,
        "versions": {"django": "6.1.3"},
    }
    requests = {
        name: {
            MINE: {"trips": 1, "commands": 1, "sent": 60, "received": 160},
            "django-cache": {"trips": 3, "commands": 3, "sent": 600, "received": 300},
            "db-sqlite": {"trips": 0, "commands": 4, "sent": 0, "received": 0},
        }
        for name in REQUESTS
    }
    timed = {
        unit: two([figure], [1.5 * figure])
        for unit, figure in (("wall", 100.0), ("cpu", 80.0), ("waits", 3.0))
    }
    rates = {
        unit: two([1000.0], [500.0])
        for unit in (
            *("rate", "p50", "p99", "application"),
            *("server", "waits", "preemptions"),
        )
    }
    sizes = {
        MINE: {"bytes": 320.0, "plain": 250.0, "ratio": 1.0},
        OTHERS: {"bytes": 352.0, "plain": 250.0, "ratio": 1.1},
        "django-cache": {"bytes": 640.0, "plain": 250.0, "ratio": 2.0},
    }
    found = {
        "costs": requests,
        "latency": {
            "blocking": {"load": timed, "save": timed},
            "awaiting": {"50": {"aload": timed, "asave": timed}},
            "inside": {"load": {"whole": 60.0, "glide": 35.0, "own": 25.0}},
        },
        "network": {"operations": {"create": timed, "load and save": timed}},
        "serving": {kind: {"read": rates, "write": rates} for kind in serving.KINDS},
        "stored": {
            "servers": {
                "Valkey": {
                    "allocator": "libc",
                    "sizes": {"small": sizes, "cart": sizes},
                }
            }
        },
        "startup": {"import": {"ms": two([50.0], [1.0]), "mb": two([11.0], [0.1])}},
        "profile": {
            "calls": {"read": {MINE: {"Django": 200, "engine": 90, "client": 40}}},
            "gil": {"read": {MINE: {"cffi": 2, "zstandard": 1}, "db-sqlite": {}}},
            "stages": [{"name": "open", "hot": 8.0, "cold": 25.0}],
            "awaiting": {
                "aload": {
                    MINE: {
                        "calls": {"engine": 69.0, "client": 29.0},
                        "microseconds": {"engine": 80.0, "page": 2.0},
                        "each": 82.0,
                    }
                }
            },
        },
    }
    failed = {"django-valkey, awaiting": "AttributeError: no aget"}
    return {
        name: {"about": about, "failed": failed, "found": part}
        for name, part in found.items()
    }


def test_the_tables_are_put_between_their_marks(results):
    document = "a\n<!-- table trips -->\nold\n<!-- end -->\nb\n"
    filled = report.PAGE.filled(document, results)
    assert filled.startswith("a\n<!-- table trips -->\n\n| round trips |")
    assert filled.endswith("|\n\n<!-- end -->\nb\n")
    assert "old" not in filled
    assert "| cache, Django's RedisCache | 3 | 3 |" in filled
    assert "| db, SQLite | 4 commands |" in filled
    assert report.PAGE.filled(filled, results) == filled


def test_every_table_has_its_place_in_the_document():
    marks = re.findall(r"<!-- table (\S+) -->", report.PAGE.document.read_text())
    assert sorted(marks) == sorted(report.TABLES)


def test_every_chart_is_shown_in_the_document():
    shown = re.findall(r"\(performance/(\S+)\.svg\)", report.PAGE.document.read_text())
    assert sorted(shown) == sorted(report.DRAWINGS)


def test_what_was_not_measured_is_said(results):
    assert report.TABLES["trips"]({}) == pages.MISSING
    del results["stored"]["found"]["servers"]["Valkey"]["sizes"]["small"]
    assert "memory, small" not in targets.text(results)
    assert "not measured" in targets.text({})


@pytest.mark.parametrize("table", report.TABLES)
def test_every_row_of_a_table_is_as_wide_as_its_head(results, table):
    lines = report.TABLES[table](results).splitlines()
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1


def test_who_does_not_run_is_named_with_the_error(results):
    (line,) = [
        line
        for line in report.TABLES["who"](results).splitlines()
        if line.startswith("| cache, django-valkey |")
    ]
    assert "awaiting does not run: `AttributeError: no aget`" in line


def test_results_become_documents(results, tmp_path):
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    document = tmp_path / "performance.md"
    document.write_text(report.PAGE.document.read_text())
    loaded = report.PAGE.load(tmp_path)
    assert loaded == results
    report.PAGE.write(loaded, document)
    assert pages.MISSING not in document.read_text()
    drawings = {path.stem for path in (tmp_path / "performance").glob("*.svg")}
    assert drawings == {*report.DRAWINGS}
    for path in (tmp_path / "performance").glob("*.svg"):
        assert parsed(path.read_text()).tag == f"{SVG}svg"


def test_what_there_is_can_be_looked_at_again(results, tmp_path, capsys):
    (tmp_path / "costs.json").write_text(json.dumps(results["costs"]))
    assert run.main(["--report", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "| cache, Django's RedisCache | 3 | 3 |" in shown
    assert "round trips, read and renew" in shown
    assert "stored" not in shown


SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing):
    """Raise ParseError if it is not well-formed."""
    return ElementTree.fromstring(drawing)  # noqa: S314 - it is ours


def test_a_bar_is_as_long_as_its_figure():
    rows = [Bar('a <b> & "c"', 10, "10"), Bar("half", 5, "5", "mine", 4, 6)]
    root = parsed(bars('of "both" & more', "note", rows))
    long, short = (float(bar.get("width")) for bar in root.iter(f"{SVG}rect"))
    assert long == pytest.approx(2 * short, abs=0.1)
    assert 'a <b> & "c"' in [text.text for text in root.iter(f"{SVG}text")]
    assert root.get("aria-label") == 'of "both" & more'
    assert len([*root.iter(f"{SVG}path")]) == 1


@pytest.mark.parametrize(
    ("value", "least", "verdict"),
    [
        (0.5, False, "reached, and the goal"),
        (0.68, False, "reached"),
        (0.71, False, "missed"),
        (0.69, True, "missed"),
        (None, False, "not measured"),
    ],
)
def test_a_target_is_reached_or_missed(value, least, verdict):
    goal = None if least else 0.65
    assert targets.Target("it", 0.70, value, least, goal).verdict == verdict


def test_ours_is_compared_with_each_of_theirs(results):
    found = {target.what: target.value for target in targets.all_of_them(results)}
    assert found["1 ms away, create, of the best on cache"] == pytest.approx(2 / 3)
    rate = "gunicorn sync, read, requests a second, of django-cache"
    assert found[rate] == pytest.approx(2)
    memory = "memory, {} session, Valkey, of the smallest rival"
    assert found[memory.format("small")] == 0.5
    # What ships was trained on carts.
    assert memory.format("cart") not in found
    others = memory.format("cart") + " (other sites' dictionary)"
    assert found[others] == pytest.approx(0.55)


def test_the_cpu_of_a_process_is_that_of_its_threads_and_children():
    before, mine = serving.cpu([os.getpid()]), time.process_time()
    thread = threading.Thread(target=sum, args=[range(3_000_000)])
    thread.start()
    thread.join()
    spent = time.process_time() - mine
    assert serving.cpu([os.getpid()]) - before >= spent > 0
    assert serving.cpu([2**22 + 1]) == 0  # Nobody has this number.


def test_the_cpu_of_threads_is_that_of_the_first_and_of_a_clients_own(prefix):
    client.execute(["PING"])  # Connects.
    before, began = serving.threads(os.getpid()), time.thread_time()
    for _ in range(300):
        client.execute(["PING"])
    sum(range(3_000_000))
    spent = time.thread_time() - began
    thread = threading.Thread(target=sum, args=[range(3_000_000)])
    thread.start()  # Python's, and so neither.
    thread.join()
    now = serving.threads(os.getpid())
    first, native = (a - b for a, b in zip(now, before, strict=True))
    # Of a thread that runs the kernel counts up to its last tick.
    assert spent - 0.02 < first < spent + 0.05
    assert 0 < native < spent
    assert serving.threads(2**22 + 1) == (0, 0)  # Nobody has this number.


def test_the_sessions_that_are_measured_are_as_large_as_they_are_called():
    small, large = (data.sessions(kind, 20) for kind in (data.SMALL, data.LARGE))
    for session in small:
        assert len(session) == 3 + 5
    for session in data.sessions(data.ANONYMOUS, 20):
        assert len(session) == 5
    for session in large:
        assert 20_000 <= len(json.dumps(session, separators=(",", ":"))) < 21_000
    users = {session["_auth_user_id"] for session in small}
    assert len(users) == 20


def test_a_dictionary_of_other_sites_knows_none_of_the_keys():
    samples = data._dictionary_tools()[0].corpus(20)
    assert data.kinds_like("cart", samples) == {"cart"}
    like = data.kinds_like(data.SMALL, samples)
    assert {"preferences", "other_languages"} <= like < {*samples}
    assert data.kinds_like(data.ANONYMOUS, samples) == like
    assert "cart" in data.kinds_like(data.LARGE, samples)


def test_a_dictionary_without_a_kind_of_site_can_be_used(settings, tmp_path):
    payloads = [json.dumps(session).encode() for session in data.of_kind("cart", 50)]
    known = sum(codec.body_sizes(payloads))
    path = tmp_path / "without.zdict"
    path.write_bytes(data.dictionary_without("cart"))
    settings.VALKEY_SESSIONS = {"DICTIONARY": str(path)}
    assert known < sum(codec.body_sizes(payloads))


# What grows


def row(**figures):
    return figures


@pytest.fixture
def growth(results):
    """What the measures of growth found."""
    waited = {"asked": 9, "p50": 0.1, "p99": 0.2, "p99.9": 0.3, "worst": 1.5}
    spent = {
        "seconds": 9.0,
        "peak_mb": 70,
        "server_cpu_seconds": 2.0,
        "waited_ms": waited,
    }
    commands = [
        row(what=what, sessions=sessions, cpu_seconds=1 + sessions / 1e5, **spent)
        for what in (*growing.LINEAR, "django-redis keys()")
        for sessions in (10_000, 100_000)
    ]
    requests = {
        "server_us": 40.0,
        "server_us_crowded": 20.0,
        "bytes_in": 60,
        "bytes_out": 80,
        "packets": 2.0,
    }
    crowd = {"cpu_us": 300, "server_us": 50.0, "connections": 1}
    operation = {"server_us": 20.0}
    times_ = {
        f"{what}_{figure}": 100
        for what in ("read", "change")
        for figure in ("us", "cpu_us", "server_us")
    }
    found = {
        "requests": {
            "rows": [
                row(request=sizing.READ, **requests),
                row(request=sizing.CHANGE, **{**requests, "server_us_crowded": 70.0}),
            ],
            "memory": {
                "sessions": 50_000,
                "session": 250,
                "session_resident": 260,
                "value": 150,
                "value_of_other_sites": 170,
                "index_of_one_session": 130,
                "large_session": 20_600,
                "stored_value_of_a_large_one": 20_000,
                "copied_while_the_append_only_file_is_rewritten": 0.05,
            },
        },
        "commands": {
            "rows": [
                row(sessions=0, what=growing.NOTHING, waited_ms=waited),
                *commands,
            ]
        },
        "crowds": {
            "rows": [
                row(place=place, per_second=rate, **{kind: count}, **crowd)
                for place, rate in ((growing.ONE, 4000), (growing.CLUSTER, 3000))
                for kind in ("threads", "tasks")
                for count in (1, 16)
            ]
        },
        "keys": {
            "rows": [
                row(keys=keys, operation="load", us=us, **operation)
                for keys, us in ((10_000, 200.0), (10_000_000, 210.0))
            ]
        },
        "sizes": {
            "rows": [
                row(engine=engine, size=size, stored=size, held_bytes=size, **times_)
                for engine in growing.STORES
                for size in (100, 1_000_000)
            ]
        },
    }
    about = results["costs"]["about"]
    return {
        name: {"about": about, "failed": {}, "found": part}
        for name, part in found.items()
    }


def test_what_grows_becomes_a_document(growth, tmp_path):
    for name, result in growth.items():
        growing.PAGE.file(tmp_path, name).write_text(json.dumps(result))
    document = tmp_path / "scaling.md"
    document.write_text(growing.PAGE.document.read_text())
    growing.PAGE.write(growing.PAGE.load(tmp_path), document)
    assert pages.MISSING not in document.read_text()
    drawings = {path.stem for path in (tmp_path / "scaling").glob("*.svg")}
    assert drawings == {*growing.DRAWINGS}
    for path in (tmp_path / "scaling").glob("*.svg"):
        assert parsed(path.read_text()).tag == f"{SVG}svg"


def test_every_table_and_chart_of_what_grows_has_its_place():
    text = growing.PAGE.document.read_text()
    assert sorted(re.findall(r"<!-- table (\S+) -->", text)) == sorted(growing.TABLES)
    shown = re.findall(r"\(scaling/(\S+)\.svg\)", text)
    assert sorted(shown) == sorted(growing.DRAWINGS)


def test_the_tables_of_what_grows_are_those_of_the_results():
    text = growing.PAGE.document.read_text()
    assert growing.PAGE.filled(text, growing.PAGE.load(run.RESULTS)) == text


@pytest.mark.parametrize("table", growing.TABLES)
def test_what_grows_is_shown_in_tables_that_fit(growth, table):
    lines = growing.TABLES[table](growth).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert growing.TABLES[table]({})


def test_a_size_is_calculated_from_what_was_measured(growth):
    small, _, large = sizing.needs(growth)
    assert (small.primaries, small.data) == (1, 400e6)
    assert small.room == 800e6
    assert small.peak == pytest.approx(1e6 * 15 * 4 / (14 * 86400))
    # Four reads of 20 us, and a change of 70.
    assert small.cpu == pytest.approx(small.peak * 30e-6)
    assert small.bits == pytest.approx(small.peak * 8 * (60 + 80 + 2 * 90))
    assert large.primaries == 25
    assert large.room == 32e9
    assert large.cpu == pytest.approx(large.peak / 25 * 30e-6)


def test_a_cluster_has_three_primaries_at_least(growth):
    growth["requests"]["found"]["memory"]["session"] = 50  # With all else, 200.
    assert [need.primaries for need in sizing.needs(growth)] == [1, 3, 13]


def test_the_start_of_a_command_is_no_part_of_what_a_million_takes(growth):
    rows = growth["commands"]["found"]["rows"]
    listing = [row for row in rows if row["what"] == "stats"]
    assert sizing.for_a_million(listing, "cpu_seconds") == pytest.approx(10)


def test_a_line_goes_through_its_points():
    drawn = [Line("a & b", [(1, 0), (10, 50), (100, 100)], mine=True)]
    across = Axis({1: "1", 100: "100"}, logarithmic=True)
    root = parsed(lines("title", "note", across, from_zero(drawn, str), drawn))
    (path,) = [p for p in root.iter(f"{SVG}path") if "line" in p.get("class")]
    points = [
        [float(number) for number in point.split()]
        for point in path.get("d").removeprefix("M").split("L")
    ]
    (x0, y0), (x1, y1), (x2, y2) = points
    # Ten times as many is half the way, and half as much is half the height.
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert "a & b" in [text.text for text in root.iter(f"{SVG}text")]


def test_the_labels_of_lines_do_not_cover_each_other():
    drawn = [Line(str(n), [(1, 5), (10, 5 + n / 100)]) for n in range(4)]
    across = Axis({1: "1", 10: "10"})
    root = parsed(lines("title", "note", across, in_powers(drawn, str), drawn))
    labels = {str(n) for n in range(4)}
    heights = sorted(
        float(text.get("y"))
        for text in root.iter(f"{SVG}text")
        if text.text in labels and text.get("class") is None
    )
    assert all(b - a >= 16 for a, b in itertools.pairwise(heights))


def test_an_axis_reaches_what_it_shows():
    for highest in (1, 3, 999, 1000, 1001, 5200):
        axis = from_zero([Line("", [(1, highest)])], str)
        assert 0 in axis.ticks
        assert 3 <= len(axis.ticks) <= 7
        assert highest <= max(axis.ticks) <= 2 * highest
