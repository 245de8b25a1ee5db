"""
What may be wrong with the server, the connection and the settings, and what to do.

Each check yields what it finds: that something is in order, too.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from django.core.checks import ERROR, CheckMessage
from django.core.exceptions import ImproperlyConfigured

from .. import checks, server
from ..conf import conf
from ..exceptions import KeyNotPermitted, NotPermitted, SessionStoreUnavailable
from ..server import Node
from .findings import FAIL, OK, WARN, Finding

OLDEST = (7, 2)
PINGS = 20
#: Milliseconds of a round trip that make sessions slow: each request needs one.
SLOW = 10.0
#: A part of maxmemory after which it is time to do something.
NEARLY_FULL = 0.8
#: Seconds by which two clocks may differ.
DRIFT = 5.0
#: Seconds since a replica has answered that are more than a hiccup.
LAG = 10


def examine() -> Iterator[Finding]:
    """Yield what is found. What has to be right for others to be looked at is first."""
    here = [finding for name in HERE for finding in _found(name, HERE[name])]
    yield from here
    if any(finding.level == FAIL for finding in here):
        return  # The server is not to be reached with such settings.
    try:
        nodes = server.nodes()
    except (SessionStoreUnavailable, ImproperlyConfigured) as error:
        yield Finding(FAIL, str(error), MEND_FIRST, check="reach")
        return
    yield Finding(OK, f"{_names(nodes)} answers.", check="reach")
    for name, look in THERE.items():
        yield from _found(name, look)
    for name, look_at in NODE.items():
        yield from _found_at(name, look_at, nodes)


MEND_FIRST = "Mend that first: most of the rest can't be seen without the server."


def _found(check: str, look: "Look") -> Iterator[Finding]:
    try:
        for found in look():
            yield replace(found, check=check)
    except SessionStoreUnavailable as error:
        yield Finding(FAIL, str(error), MEND_FIRST, check=check)


def _found_at(check: str, look: "LookAt", nodes: list[Node]) -> Iterator[Finding]:
    each = {node.address: list(look(node)) for node in nodes}
    first, *others = each.values()
    if all(found == first for found in others):
        each = {"": first}
    for address, findings in each.items():
        for found in findings:
            yield replace(found, check=check, node=address)


def _names(nodes: list[Node]) -> str:
    if len(nodes) > 1:
        return f"A cluster of {len(nodes)} primaries"
    return "The server" if conf.CLIENT is not None else f"Valkey at {conf.LOCATION}"


# What is seen from here.


def look_at_settings() -> Iterator[Finding]:
    messages = [*checks.check_settings(), *checks.check_deployment()]
    messages = [message for message in messages if not _is_of_transport(message)]
    for message in messages:
        level = FAIL if message.level >= ERROR else WARN
        yield Finding(level, f"{message.msg} ({message.id})", message.hint or "")
    if not messages:
        yield Finding(OK, "VALKEY_SESSIONS has nothing that endangers sessions.")


def look_at_transport() -> Iterator[Finding]:
    try:
        location, client = conf.LOCATION, conf.CLIENT
    except ImproperlyConfigured:
        return  # Found above.
    exposed = list(checks.check_transport())
    for message in exposed:
        yield Finding(WARN, message.msg, message.hint or "")
    if client is not None:
        yield Finding(OK, "The connection is a matter of CLIENT in VALKEY_SESSIONS.")
    elif location.tls:
        yield Finding(OK, "The connection is encrypted.")
    elif not exposed:
        yield Finding(OK, "The connection is not encrypted, and stays on this host.")


def _is_of_transport(message: CheckMessage) -> bool:
    return message.id == "valkey_sessions.W001"


# What is seen in talking to the server.


def look_at_latency() -> Iterator[Finding]:
    try:
        median = statistics.median(server.round_trips(PINGS)) * 1000
    except NotPermitted:
        return  # look_at_rights() says so.
    text = f"A round trip takes {median:.2f} ms, the median of {PINGS}."
    if median > SLOW:
        yield Finding(
            WARN,
            text,
            "Each request waits for one at least: bring the site and the server closer "
            "together, or look for what keeps the server busy (SLOWLOG).",
        )
    else:
        yield Finding(OK, text)


def look_at_rights() -> Iterator[Finding]:
    refusals = server.refusals()
    keys = [name for name in refusals if _is(KeyNotPermitted, refusals[name])]
    missing = [name for name in refusals if _is(NotPermitted, refusals[name])]
    missing = [name for name in missing if name not in keys]
    if missing:
        rights = " ".join(f"+{name.lower()}" for name in missing)
        yield Finding(
            FAIL,
            f"The user may not use {', '.join(missing)}.",
            f"Permit it: ACL SETUSER … {rights}",
        )
    if keys:
        yield Finding(
            FAIL,
            f"The user may not use all keys that begin with {conf.PREFIX!r}.",
            f"Permit it: ACL SETUSER … ~{conf.PREFIX}*",
        )
    others: dict[str, list[str]] = {}
    for name in [name for name in refusals if name not in (*missing, *keys)]:
        others.setdefault(str(refusals[name]), []).append(name)
    for text, names in others.items():
        yield Finding(FAIL, f"Refused: {', '.join(names)}. {text}", "Sessions need it.")
    if not refusals:
        yield Finding(OK, "Every command that sessions need was carried out.")


def _is(kind: type[Exception], error: Exception) -> bool:
    return isinstance(error, kind)


def look_at_clock() -> Iterator[Finding]:
    try:
        ahead = server.clock()
    except NotPermitted:
        return  # look_at_rights() says so.
    side = "ahead of" if ahead > 0 else "behind"
    text = f"The server's clock is {abs(ahead):.1f} s {side} this host's."
    if abs(ahead) > DRIFT:
        yield Finding(
            FAIL,
            text,
            "Sessions end too early or too late: let NTP set the clocks of both hosts.",
        )
    else:
        yield Finding(OK, text)


def look_at_cluster() -> Iterator[Finding]:
    if not conf.CLUSTER:
        return
    try:
        facts = server.cluster()
    except NotPermitted:
        yield Finding(
            WARN,
            "The user may not ask whether the cluster is complete.",
            "Permit it: ACL SETUSER … +cluster|info.",
        )
        return
    covered = int(facts.get("cluster_slots_ok", 0))
    if facts.get("cluster_state") == "ok" and covered == SLOTS:
        yield Finding(OK, "The cluster is complete.")
    else:
        yield Finding(
            FAIL,
            f"The cluster is not complete: {covered:,} of {SLOTS:,} slots are served.",
            "Bring the missing primaries back, or promote their replicas: see CLUSTER "
            "NODES.",
        )


#: Of a cluster.
SLOTS = 16384


# What a node says about itself.


def look_at_version(node: Node) -> Iterator[Finding]:
    valkey = node.info.get("valkey_version")
    name = "Valkey" if valkey else "Redis"
    version = valkey or node.info.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    what = f"The server is {name} {version}" + ("" if valkey else ", not Valkey")
    if numbers < OLDEST:
        yield Finding(
            FAIL,
            f"{what}{'' if valkey else ','} and older than what is supported.",
            "Use Valkey 7.2 or later.",
        )
    elif valkey:
        yield Finding(OK, f"{what}.")
    else:
        yield Finding(
            WARN,
            f"{what}, and nobody has tried sessions on it.",
            "Use Valkey 7.2 or later.",
        )


def look_at_memory(node: Node) -> Iterator[Finding]:
    used, limit = node.number("used_memory"), node.number("maxmemory")
    if not limit:
        yield Finding(
            OK, "Memory is not limited (maxmemory), so nothing is ever evicted for it."
        )
    elif used > limit * NEARLY_FULL:
        yield Finding(
            WARN,
            f"{used / limit:.0%} of maxmemory is used.",
            "Raise it, or give sessions a server of their own: when it is full, either "
            "sessions are dropped or nothing can be saved.",
        )
    else:
        yield Finding(OK, f"{used / limit:.0%} of maxmemory is used.")


def look_at_eviction(node: Node) -> Iterator[Finding]:
    policy = node.info.get("maxmemory_policy", "unknown")
    evicted = node.number("evicted_keys")
    advice = "Set maxmemory-policy to noeviction."
    if policy == "noeviction":
        yield Finding(OK, "Nothing is evicted (noeviction).")
    elif node.number("maxmemory"):
        yield Finding(
            FAIL,
            f"The policy {policy} drops sessions when memory is full.",
            advice,
        )
    else:
        yield Finding(
            WARN,
            f"The policy {policy} will drop sessions as soon as there is a maxmemory.",
            advice,
        )
    if evicted:
        yield Finding(
            WARN,
            f"{evicted:,} keys were evicted since the server was started.",
            f"These may have been sessions. {advice}",
        )


def look_at_persistence(node: Node) -> Iterator[Finding]:
    if node.info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            FAIL,
            "The server can't write its append-only file.",
            "Look at its disk and its log: until then sessions can't be saved.",
        )
    if node.info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding(
            FAIL,
            "The last snapshot failed.",
            "Look at the server's disk, memory and log: it may refuse further writes.",
        )
    if node.number("aof_enabled"):
        yield Finding(OK, "Sessions outlive a restart (appendonly).")
    else:
        yield _snapshots(node)


def _snapshots(node: Node) -> Finding:
    when, saves = server.snapshots(), node.number("rdb_saves")
    advice = "Set appendonly to yes."
    if when or (when is None and saves):
        return Finding(
            OK,
            "Sessions outlive a restart (snapshots); a crash takes what came after the "
            "last one. With appendonly that is one second.",
        )
    if when is None:
        return Finding(
            WARN,
            "The server has saved nothing since it was started, and its user may not "
            "ask whether it ever will (CONFIG GET save).",
            f"Find out. {advice}",
        )
    return Finding(
        FAIL, "A restart ends all sessions: neither appendonly nor save is on.", advice
    )


def look_at_replicas(node: Node) -> Iterator[Finding]:
    replicas = node.replicas()
    behind = [
        replica
        for replica in replicas
        if replica.get("state") != "online" or int(replica.get("lag", 0)) > LAG
    ]
    for replica in behind:
        yield Finding(
            WARN,
            f"The replica {replica.get('ip')}:{replica.get('port')} is behind: state "
            f"{replica.get('state')}, last heard of {replica.get('lag')} s ago.",
            "Look at its log (master_link_status in its INFO): after a failover to it "
            "the latest sessions would be missing.",
        )
    if len(replicas) - len(behind) < conf.REPLICAS_ACK:
        yield Finding(
            WARN,
            f"REPLICAS_ACK is {conf.REPLICAS_ACK}, and there are not so many in step.",
            "Bring more replicas up: until then a failover may lose changes.",
        )
    elif not replicas:
        yield Finding(OK, "There is no replica: nobody takes over from the server.")
    elif not behind:
        count = f"{len(replicas)} replica{'s' if len(replicas) > 1 else ''}"
        yield Finding(OK, f"{count} in step.")


Look = Callable[[], Iterable[Finding]]
LookAt = Callable[[Node], Iterable[Finding]]

HERE: dict[str, Look] = {"settings": look_at_settings, "tls": look_at_transport}
THERE: dict[str, Look] = {
    "latency": look_at_latency,
    "rights": look_at_rights,
    "clock": look_at_clock,
    "cluster": look_at_cluster,
}
NODE: dict[str, LookAt] = {
    "version": look_at_version,
    "memory": look_at_memory,
    "eviction": look_at_eviction,
    "persistence": look_at_persistence,
    "replicas": look_at_replicas,
}
#: In the order in which they are told.
CHECKS = (*HERE, "reach", *THERE, *NODE)
