"""manage.py valkey_sessions stats, and the tally that it writes."""

import json
import math
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from django_valkey_sessions import client, codec, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.management import progress, summary
from django_valkey_sessions.management.tally import DAY, ERROR, Sizes, Spans, Tally
from django_valkey_sessions.server import Node

UNKNOWN = "0" * 32


def new_session(user=None, **data):
    session = SessionStore()
    session.update(data if user is None else {"_auth_user_id": user, **data})
    session.save()
    return session


def store(created, lifetime=None, **data):
    id = keys.session_id(keys.new_session_key())
    blob = codec.pack(json.dumps(data).encode(), id, int(created.timestamp()))
    expiry = [] if lifetime is None else ["PX", str(lifetime * 1000)]
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, id), blob, *expiry])


def told(run):
    return json.loads(run("stats", format="json").out)


# The tally.


@given(st.lists(st.integers(0, 2**29), min_size=1), st.sampled_from([50, 90, 99]))
def test_a_percentile_is_wrong_by_no_more_than_is_said(values, percent):
    sizes = Sizes()
    for value in values:
        sizes.add(value)
    exact = sorted(values)[math.ceil(len(values) * percent / 100) - 1]
    assert abs(sizes.percentile(percent) - exact) <= exact * ERROR + 0.5
    assert (sizes.total, sizes.largest) == (sum(values), max(values))


@given(st.lists(st.integers(0, 2**29), max_size=300))
def test_the_memory_of_sizes_has_a_limit(values):
    sizes = Sizes()
    for value in values:
        sizes.add(value)
    growth = (1 + ERROR) / (1 - ERROR)
    assert max(sizes._buckets, default=0) <= math.ceil(math.log(2**29, growth)) < 1010


def test_where_there_is_nothing_a_percentile_is_nothing():
    assert Sizes().percentile(50) == 0


def test_spans_are_counted_up_to_their_end():
    spans = Spans()
    for seconds in (61, 3600, 3601, 7 * DAY, 10**9, None):
        spans.add(seconds)
    counts = {end: count for _, end, count in spans.counts()}
    assert counts[3600] == 2
    assert counts[DAY] == 1
    assert counts[7 * DAY] == 1
    assert counts[math.inf] == 1
    assert 60 not in counts
    assert spans.endless == 1


def test_what_is_past_is_counted_with_the_shortest():
    spans = Spans()
    spans.add(-5)
    assert spans.counts() == [(0, 60, 1)]


# The command.


def test_the_figures_are_those_of_the_sessions(run, valkey):
    for user in ("7", "7", None):
        new_session(user)
    prefix = sessions.conf.PREFIX
    client.execute(["SET", keys.stored_key(prefix, UNKNOWN), "?" * 1000])
    stored = [len(valkey.get(key)) for key in valkey.keys(f"{prefix}{'[0-9a-f]' * 32}")]
    facts = told(run)
    assert facts["sessions"] == {
        "total": 4,
        "logged_in": 2,
        "visitors": 1,
        "unreadable": 1,
    }
    assert facts["bytes"]["total"] == sum(stored)
    assert facts["bytes"]["max"] == 1000
    assert facts["bytes"]["median"] == pytest.approx(sorted(stored)[1], rel=ERROR)
    assert facts["never_expire"] == 1
    assert [span["sessions"] for span in facts["expire_in"]] == [3]
    assert facts["age"] == [{"from": 0, "to": 60, "sessions": 3}]


def test_ages_and_lifetimes_are_told_apart(run):
    now = datetime.now(UTC)
    store(now - timedelta(days=2), 1800)
    store(now - timedelta(days=400), 90)
    facts = told(run)
    assert facts["expire_in"] == [{"from": 60, "to": 3600, "sessions": 2}]
    assert facts["age"][0] == {"from": DAY, "to": 7 * DAY, "sessions": 1}
    assert facts["age"][-1] == {"from": 365 * DAY, "to": None, "sessions": 1}
    store(now)
    text = run("stats").out
    assert re.search(r"^  1 minute to 1 hour +2  ##", text, re.MULTILINE)
    assert re.search(r"^  never +1  ##", text, re.MULTILINE)
    assert re.search(r"^  over 365 days +1  ##", text, re.MULTILINE)
    assert re.search(r"^  under 1 minute +1  ##", text, re.MULTILINE)


def test_ages_are_told_on_a_site_without_time_zones(run, settings):
    settings.USE_TZ = False
    store(datetime.now(UTC) - timedelta(days=2), 3600)
    assert told(run)["age"][0] == {"from": DAY, "to": 7 * DAY, "sessions": 1}


def test_what_the_server_says_is_told(run, own_engine):
    with own_engine.connect() as connection:
        connection.config_set("maxmemory", 10**8)
        connection.set("a", 1, px=1)
        while connection.exists("a"):
            time.sleep(0.01)
        used = connection.info("memory")["used_memory"]
    told_of = told(run)["server"]
    assert told_of["maxmemory"] == 10**8
    assert told_of["maxmemory_policy"] == "noeviction"
    assert (told_of["evicted_keys"], told_of["expired_keys"]) == (0, 1)
    assert told_of["used_memory"] == pytest.approx(used, rel=0.5)
    text = run("stats").out
    assert re.search(r"maxmemory +95\.4 MB", text)
    assert re.search(r"expired keys +1\n", text)


def test_a_cluster_is_told_as_one(run, clustered):
    for _ in range(20):
        new_session("7")
    memory = 0
    for node in clustered[:3]:
        with node.connect() as connection:
            memory += connection.info("memory")["used_memory"]
    facts = told(run)
    assert facts["sessions"]["logged_in"] == 20
    assert facts["server"]["nodes"] == 3
    assert facts["server"]["used_memory"] == pytest.approx(memory, rel=0.3)
    assert re.search(r"primaries +3\n", run("stats").out)


def test_where_there_is_none_that_is_told(run):
    facts = told(run)
    assert facts["sessions"]["total"] == facts["bytes"]["max"] == 0
    assert facts["expire_in"] == facts["age"] == []
    assert re.search(r"^  total +0$", run("stats").out, re.MULTILINE)


def test_bars_are_as_long_as_what_they_stand_for(run):
    for _ in range(4):
        new_session("7")
    new_session()
    lines = run("stats").out.splitlines()
    bars = {line[2:11].strip(): line.count("#") for line in lines}
    assert bars["logged in"] == pytest.approx(4 * bars["visitors"], abs=4)
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_a_few_are_neither_none_nor_all():
    tally = Tally(datetime.now(UTC), users=9999, visitors=1)
    shown = {row.name: row.figure for row in summary._who(tally)}
    assert ">99%" in shown["logged in"]
    assert "<1%" in shown["visitors"]
    assert "unreadable" not in shown


def test_a_terminal_shows_the_same_with_and_without_rich(run, look):
    new_session("7")
    new_session()
    out = run("stats", terminal=True).out
    text = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert re.search(r"logged in +1   50%  [#█]+$", text, re.MULTILINE)
    assert ("█" in text) is (look == "rich")
    assert ("\x1b[" in out) is (look == "rich")
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in run("stats").out


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KB"),
        (1536 * 1024**2, "1.5 GB"),
        (5000 * 1024**4, "5,000.0 TB"),
    ],
)
def test_memory_is_told_in_words(size, text):
    assert summary._size(size) == text


def test_policies_that_differ_are_all_told():
    infos = ({"maxmemory_policy": "noeviction"}, {"maxmemory_policy": "allkeys-lru"})
    nodes = [Node(str(number), info) for number, info in enumerate(infos)]
    assert summary._policies(nodes) == "allkeys-lru, noeviction"
    assert summary._policies([Node("", {})]) == "unknown"


def test_progress_is_shown_on_a_terminal(run, look, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    new_session("7")
    assert "Looking at sessions" in run("stats", terminal=True).err
    assert run("stats").err == ""


def test_ctrl_c_says_how_far_it_got(run, valkey_sessions, before_each_trip):
    valkey_sessions(SCAN_COUNT=10)
    for _ in range(100):
        new_session()
    scans = []

    def interrupt(trip):
        scans.append(trip[0] == "SCAN")
        if sum(scans) == 4:
            raise KeyboardInterrupt

    before_each_trip(interrupt)
    with pytest.raises(SystemExit) as caught:
        run("stats")
    assert caught.value.code == 130
    count = int(re.search(r"(\d+) sessions? looked at", caught.value.said.err)[1])
    assert 0 < count < 100
    assert caught.value.said.out == ""


def test_an_outage_is_an_error_of_the_command(run, own_engine):
    own_engine.kill()
    with pytest.raises(CommandError, match=str(own_engine.port)):
        run("stats")
