"""manage.py valkey_sessions doctor: each trouble, on a server that has it."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError

from django_valkey_sessions import client, server
from django_valkey_sessions.management import doctor
from django_valkey_sessions.management.findings import FAIL, OK, WARN, Finding
from django_valkey_sessions.server import Node

from . import servers

MINIMUM = "on >x ~session:* +@all -config -cluster"


@pytest.fixture
def start(settings):
    """Start a server with these options, and let the engine use it."""
    started = []

    def start(*words, **options):
        started.append(servers.Server(*words, **options))
        settings.VALKEY_SESSIONS = {"LOCATION": started[-1].url}
        return started[-1]

    yield start
    client.close()
    for each in started:
        each.close()


@pytest.fixture
def permit(settings):
    """Let the engine be a user of the server who has these rights."""

    def permit(own, rights):
        with own.connect() as admin:
            admin.execute_command("ACL", "SETUSER", "poor", "reset", *rights.split())
        url = f"valkey://poor:x@127.0.0.1:{own.port}/0"
        settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "LOCATION": url}

    return permit


def examine(check=None):
    """Return what is found, as level and text; by one check, if it is named."""
    return [
        (finding.level, f"{finding.text} {finding.advice}")
        for finding in doctor.examine()
        if check in (None, finding.check)
    ]


def only(findings):
    (finding,) = findings
    return finding


# In order.


def test_where_all_is_well_nothing_else_is_said(own_engine):
    assert {level for level, _ in examine()} == {OK}


def test_probing_leaves_nothing_behind(own_engine):
    examine()
    with own_engine.connect() as connection:
        assert connection.dbsize() == 0


def test_a_probe_can_not_be_taken_for_a_session(own_engine, before_each_trip):
    with own_engine.connect() as connection:
        seen = []
        before_each_trip(lambda trip: seen.extend(trip) if len(trip) > 5 else None)
        server.refusals()
        names = {str(words[1]) for words in seen if words[0] in ("SET", "UNLINK")}
        assert all(name.startswith("session:doctor:") for name in names)
        assert connection.dbsize() == 0


def test_each_line_has_the_level_the_check_and_what_was_found(run, own_engine):
    lines = run("doctor").out.splitlines()
    assert {line[:4].strip() for line in lines} == {OK}
    assert [line[6:17].strip() for line in lines] == [
        *("settings", "tls", "reach", "latency", "rights", "clock"),
        *("version", "memory", "eviction", "persistence", "replicas"),
    ]


def test_every_check_says_something_of_a_cluster(clustered):
    assert {finding.check for finding in doctor.examine()} == set(doctor.CHECKS)


# The server can't be reached.


def test_a_server_that_is_down_is_a_line_and_an_exit_code(run, own_engine):
    own_engine.kill()
    with pytest.raises(CommandError) as caught:
        run("doctor")
    assert caught.value.returncode == 1
    assert str(caught.value) == "1 problem."
    line = only([x for x in caught.value.said.out.splitlines() if x[:4] == FAIL])
    assert "reach" in line
    assert f"127.0.0.1:{own_engine.port} refuses connections" in line
    assert "LOCATION" in line


def test_a_server_that_hangs_is_not_waited_for(own_engine):
    own_engine.pause()
    level, text = examine("reach")[0]
    assert (level, "did not answer within" in text) == (FAIL, True)


def test_a_server_that_ends_meanwhile_ends_nothing_else(own_engine, before_each_trip):
    def kill_at_first_ping(trip):
        if trip == ["PING"]:
            own_engine.kill()
            before_each_trip(lambda trip: None)

    before_each_trip(kill_at_first_ping)
    found = {finding.check: finding.level for finding in doctor.examine()}
    assert found["reach"] == OK
    assert found["latency"] == found["rights"] == found["clock"] == FAIL


def test_the_right_without_which_there_is_no_connection_is_named(own_engine, permit):
    permit(own_engine, "on >x ~session:* +@all -info")
    level, text = only(examine("reach"))
    assert (level, "the command INFO" in text) == (FAIL, True)


# Settings.


def test_what_the_system_checks_say_is_told(own_engine, valkey_sessions, settings):
    settings.VALKEY_SESSIONS = {"LOCATION": own_engine.url, "SEAL": False}
    level, text = only(examine("settings"))
    assert (level, "valkey_sessions.W002" in text) == (WARN, True)


def test_settings_that_can_not_be_used_are_all_that_is_told(run, settings):
    settings.VALKEY_SESSIONS = {"LOCATION": "valky://127.0.0.1", "TTL": -1}
    with pytest.raises(CommandError, match="2 problems"):
        run("doctor")
    assert [finding.check for finding in doctor.examine()] == ["settings"] * 2


@pytest.mark.parametrize(
    ("names", "level", "text"),
    [
        ({"LOCATION": "valkey://db.example:6379"}, WARN, "valkeys://"),
        ({"LOCATION": "valkeys://db.example:6379"}, OK, "encrypted"),
        ({"LOCATION": "valkey://127.0.0.1:6379"}, OK, "this host"),
        ({"LOCATION": "unix:///run/valkey.sock"}, OK, "this host"),
        ({"CLIENT": dict}, OK, "CLIENT"),
    ],
)
def test_the_connection_is_judged_by_where_it_leads(settings, names, level, text):
    settings.VALKEY_SESSIONS = names
    found = only(doctor.look_at_transport())
    assert (found.level, text in f"{found.text} {found.advice}") == (level, True)


def test_a_client_of_the_sites_own_is_examined(own_engine, settings):
    from glide_sync import GlideClient, GlideClientConfiguration, NodeAddress

    address = NodeAddress("127.0.0.1", own_engine.port)
    settings.VALKEY_SESSIONS = {
        "CLIENT": lambda: GlideClient.create(GlideClientConfiguration([address]))
    }
    assert only(examine("reach")) == (OK, "The server answers. ")


# What is measured.


def test_slow_round_trips_are_told(own_engine, monkeypatch):
    assert only(examine("latency"))[0] == OK
    monkeypatch.setattr(doctor, "SLOW", 0.0)
    level, text = only(examine("latency"))
    assert (level, "SLOWLOG" in text) == (WARN, True)


@pytest.mark.parametrize(
    ("moved", "level", "side"),
    [(7, FAIL, "behind"), (-7, FAIL, "ahead of"), (-4, OK, "ahead of")],
)
def test_a_clock_that_is_off_is_told(own_engine, monkeypatch, moved, level, side):
    clocks = SimpleNamespace(
        time=lambda: time.time() + moved, perf_counter=time.perf_counter
    )
    monkeypatch.setattr(server, "time", clocks)
    found, text = only(examine("clock"))
    assert (found, f"{abs(moved)}.0 s {side} this host's" in text) == (level, True)


# Rights.


def test_each_missing_right_is_named(own_engine, permit):
    permit(own_engine, "on >x ~session:* +@all -getrange -ping -time -eval")
    level, text = only(examine("rights"))
    assert (level, "PING, TIME, GETRANGE, EVAL" in text) == (FAIL, True)
    assert "+ping +time +getrange +eval" in text
    assert {level for level, _ in examine("latency") + examine("clock")} == set()


def test_rights_to_an_index_are_needed_only_where_there_is_one(
    own_engine, permit, settings
):
    permit(own_engine, "on >x ~session:* +@all -zadd -zrange")
    level, text = only(examine("rights"))
    assert (level, "+zadd +zrange" in text) == (FAIL, True)
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "USER_INDEX": False}
    assert only(examine("rights"))[0] == OK


@pytest.mark.parametrize("keys", ["~other:*", "%R~session:*"])
def test_missing_rights_to_keys_are_told(own_engine, permit, keys):
    permit(own_engine, f"on >x {keys} +@all")
    level, text = only(examine("rights"))
    assert (level, "~session:*" in text) == (FAIL, True)


def test_a_server_that_refuses_to_write_is_told(start):
    start("--maxmemory", "1")
    level, text = only(examine("rights"))
    assert (level, "SET" in text, "maxmemory" in text) == (FAIL, True, True)


# What the server says of itself.


def test_redis_is_not_valkey_and_this_one_too_old(start):
    assert shutil.which("redis-server"), "Debian's redis-server is needed: see .ci/run."
    start(program="redis-server")
    level, text = only(examine("version"))
    assert level == FAIL
    assert "Redis 7.0" in text
    assert "not Valkey" in text
    assert "older" in text


@pytest.mark.parametrize(
    ("info", "level"),
    [
        ({"valkey_version": "7.2.5", "redis_version": "7.2.4"}, OK),
        ({"valkey_version": "10.0.0", "redis_version": "7.2.4"}, OK),
        ({"redis_version": "7.2.4"}, WARN),
        ({"redis_version": "8.0.0"}, WARN),
        ({"redis_version": "6.2.14"}, FAIL),
        ({"valkey_version": "7.1.9"}, FAIL),
        ({}, FAIL),
    ],
)
def test_versions_are_compared_as_numbers(info, level):
    assert only(doctor.look_at_version(Node("", info))).level == level


POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("limit", "level"), [("100mb", FAIL), ("0", WARN)])
def test_a_policy_that_drops_sessions_is_told(start, policy, limit, level):
    start("--maxmemory", limit, "--maxmemory-policy", policy)
    found, text = only(examine("eviction"))
    assert (found, policy in text, "noeviction" in text) == (level, True, True)


def test_keys_that_were_evicted_are_told(start):
    own = start("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random")
    with own.connect() as connection:
        connection.mset({f"other:{n}": "x" for n in range(100)})
        connection.config_set("maxmemory", "1")
        connection.ping()
        servers.wait_until(lambda: connection.info("stats")["evicted_keys"] == 100)
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("maxmemory", "100mb")
    assert [level for level, _ in examine("eviction")] == [OK, WARN]
    assert "100 keys were evicted" in examine("eviction")[1][1]


def test_memory_that_is_nearly_full_is_told(own_engine):
    with own_engine.connect() as connection:
        used = connection.info("memory")["used_memory"]
        connection.config_set("maxmemory", used * 100 // 90)
        assert only(examine("memory"))[0] == WARN
        connection.config_set("maxmemory", used * 2)
        assert only(examine("memory"))[0] == OK


def test_a_server_that_keeps_nothing_is_told(start):
    start()
    level, text = only(examine("persistence"))
    assert (level, "appendonly" in text) == (FAIL, True)


@pytest.mark.parametrize("words", [("--appendonly", "yes"), ("--save", "60 1")])
def test_a_server_that_keeps_sessions_is_in_order(start, words):
    start(*words)
    assert only(examine("persistence"))[0] == OK


def test_what_the_user_may_not_ask_is_judged_by_what_happened(start, permit):
    own = start()
    permit(own, MINIMUM)
    level, text = only(examine("persistence"))
    assert (level, "CONFIG GET save" in text) == (WARN, True)
    with own.connect() as connection:
        connection.bgsave()
        servers.wait_until(lambda: connection.info("persistence")["rdb_saves"])
    assert only(examine("persistence"))[0] == OK


def test_a_snapshot_that_failed_is_told(start):
    own = start("--save", "3600 1")
    with own.connect(decode_responses=True) as valkey:
        (Path(valkey.config_get("dir")["dir"]) / "dump.rdb").mkdir()
    with own.connect() as connection:
        connection.bgsave()
        servers.wait_until(
            lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err"
        )
    found = examine("persistence")
    assert (FAIL, True) in [(level, "snapshot failed" in text) for level, text in found]


def test_an_append_only_file_that_can_not_be_written_is_told():
    info = {"aof_enabled": "1", "aof_last_write_status": "err"}
    found = list(doctor.look_at_persistence(Node("", info)))
    assert (found[0].level, "disk" in found[0].advice) == (FAIL, True)


def test_replicas_are_told(start, settings, monkeypatch):
    own = start()
    assert "There is no replica" in only(examine("replicas"))[1]
    replica = servers.replica(own)
    try:
        servers.wait_until(lambda: "1 replica in step" in only(examine("replicas"))[1])
        settings.VALKEY_SESSIONS = {"LOCATION": own.url, "REPLICAS_ACK": 2}
        level, text = only(examine("replicas"))
        assert (level, "REPLICAS_ACK is 2" in text) == (WARN, True)
        settings.VALKEY_SESSIONS = {"LOCATION": own.url}
        monkeypatch.setattr(doctor, "LAG", -1)
        level, text = only(examine("replicas"))
        assert (level, f"127.0.0.1:{replica.port} is behind" in text) == (WARN, True)
    finally:
        replica.close()


def test_the_right_to_wait_is_needed_where_replicas_have_to_confirm(
    own_engine, permit, settings
):
    permit(own_engine, "on >x ~session:* +@all -wait")
    assert only(examine("rights"))[0] == OK
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "REPLICAS_ACK": 1}
    level, text = only(examine("rights"))
    assert (level, "+wait" in text) == (FAIL, True)


# A cluster.


@pytest.fixture
def broken(settings):
    """A cluster without one of its primaries."""
    nodes = servers.cluster(replicas=0)
    try:
        nodes[2].kill()
        with nodes[0].connect() as connection:
            servers.wait_until(lambda: _has_failed(connection))
        urls = [node.url for node in nodes[:2]]
        settings.VALKEY_SESSIONS = {"LOCATION": urls, "CLUSTER": True}
        yield
    finally:
        client.close()
        for node in nodes:
            node.close()


def _has_failed(connection):
    return b"cluster_state:fail" in connection.execute_command("CLUSTER", "INFO")


def test_a_cluster_that_is_not_complete_is_told(broken):
    level, text = only(examine("cluster"))
    assert (level, "10,923 of 16,384 slots" in text) == (FAIL, True)


def test_a_complete_cluster_is_in_order(clustered):
    assert only(examine("cluster")) == (OK, "The cluster is complete. ")


def test_what_differs_is_told_for_each_node(clustered):
    assert len(examine("eviction")) == 1
    with clustered[0].connect() as connection:
        connection.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = [f for f in doctor.examine() if f.check == "eviction"]
        finally:
            connection.config_set("maxmemory-policy", "noeviction")
    assert sorted(finding.level for finding in found) == [OK, OK, WARN]
    (warning,) = (finding for finding in found if finding.level == WARN)
    assert warning.node == f"127.0.0.1:{clustered[0].port}"


def test_who_may_not_ask_about_the_cluster_is_told(clustered, settings):
    for node in clustered:
        with node.connect() as admin:
            rights = f"{MINIMUM} +cluster|slots".split()
            admin.execute_command("ACL", "SETUSER", "poor", "reset", *rights)
    urls = [f"valkey://poor:x@127.0.0.1:{node.port}/0" for node in clustered[:2]]
    settings.VALKEY_SESSIONS = {"LOCATION": urls, "CLUSTER": True}
    level, text = only(examine("cluster"))
    assert (level, "+cluster|info" in text) == (WARN, True)


# How it is said.


def test_json_is_one_array(run, own_engine):
    found = json.loads(run("doctor", format="json").out)
    assert {finding["level"] for finding in found} == {OK}
    assert set(found[0]) == {"level", "check", "text", "advice", "node"}


def test_colours_are_a_matter_of_the_terminal_and_of_options(
    run, own_engine, monkeypatch
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in run("doctor").out
    assert "\x1b[" in run("doctor", "--force-color").out
    assert "\x1b" not in run("doctor", "--no-color", terminal=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("DJANGO_COLORS", "dark")
    assert "\x1b" not in run("doctor", terminal=True).out


def test_nothing_that_a_server_says_steers_a_terminal(run, own_engine, monkeypatch):
    told = [Finding(OK, "The server is Valkey \x1b[2J9.", check="version")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(told))
    assert "\x1b" not in run("doctor", terminal=True).out
