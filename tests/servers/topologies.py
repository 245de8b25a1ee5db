"""Several servers that belong together, and servers that are not like the others."""

import valkey

from .certificates import Certificates
from .choice import backend
from .server import NotStarted, Server
from .waiting import free_port, wait_until


def replica(primary: Server) -> Server:
    """Start a replica, and wait until it has what the primary has."""
    server = Server("--replicaof", f"127.0.0.1 {primary.port}")
    with server.connect() as connection:
        wait_until(lambda: _has_everything(connection))
    return server


def swap(primary: Server, replica: Server) -> None:
    """Let them change places without a loss, as somebody does who knows how."""
    with primary.connect() as old, replica.connect() as new:
        old.client_pause(5000, all=False)
        wait_until(lambda: _offset(old) == _offset(new))
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", replica.port)
        old.client_unpause()


def sentinels(primary: Server, service: str, count: int = 3) -> list[Server]:
    """
    Start so many sentinels that watch a primary and its replicas, and wait until they
    know one another and the replicas. A primary is down after a second of silence.
    """
    configuration = "\n".join(
        [
            f"sentinel monitor {service} 127.0.0.1 {primary.port} {count // 2 + 1}",
            f"sentinel down-after-milliseconds {service} 1000",
            f"sentinel failover-timeout {service} 3000",
            "",
        ]
    )
    files = {"sentinel.conf": configuration.encode()}
    words = ("{folder}/sentinel.conf", "--sentinel")
    watching = [Server(*words, files=files) for _ in range(count)]
    with primary.connect() as connection:
        replicas = connection.info("replication")["connected_slaves"]
    for sentinel in watching:
        with sentinel.connect() as connection:
            wait_until(
                lambda: _knows_all(connection, service, count - 1, replicas),
                timeout=60,  # They ask only every 10 s who the replicas are.
            )
    return watching


def tls(certificates: Certificates, *arguments: str) -> Server | None:
    """
    Start a server that speaks TLS only: one like the others, or Debian's redis-server
    if those have no TLS. Return None if that is not there.
    """
    try:
        return Server(*arguments, tls=certificates)
    except NotStarted as error:
        if "TLS support" not in str(error):
            raise
    if not backend().has("redis-server"):
        return None
    return Server(*arguments, tls=certificates, program="redis-server")


def cluster(*arguments: str, replicas: int = 1) -> list[Server]:
    """Start a cluster of three primaries with so many replicas each."""
    nodes = [
        Server(
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-port", str(free_port()), *arguments),
        )
        for _ in range(3 * (1 + replicas))
    ]
    clients = [node.connect(decode_responses=True) for node in nodes]
    bounds = (0, 5461, 10923, 16384)
    for number, client in enumerate(clients[:3]):
        low, high = bounds[number], bounds[number + 1] - 1
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", low, high)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        bus = node.arguments[node.arguments.index("--cluster-port") + 1]
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    wait_until(lambda: all(_knows(client, len(nodes)) for client in clients))
    ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
    for number, client in enumerate(clients[3:]):
        client.execute_command("CLUSTER", "REPLICATE", ids[number % 3])
    wait_until(lambda: all(_is_complete(client, replicas) for client in clients))
    for client in clients:
        client.close()
    return nodes


def _knows(client: valkey.Valkey, count: int) -> bool:
    lines = str(client.execute_command("CLUSTER", "NODES"))
    return lines.count("connected") == count and "handshake" not in lines


def _is_complete(client: valkey.Valkey, replicas: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    slots = client.execute_command("CLUSTER", "SLOTS")
    return "cluster_state:ok" in str(info) and all(
        len(slot[2:]) == 1 + replicas for slot in slots
    )


def _offset(connection: valkey.Valkey) -> int:
    return int(connection.info("replication")["master_repl_offset"])


def _has_everything(connection: valkey.Valkey) -> bool:
    return connection.info("replication").get("master_link_status") == "up"


def _knows_all(
    connection: valkey.Valkey, service: str, sentinels: int, replicas: int
) -> bool:
    known = connection.sentinel_master(service)
    return (known["num-other-sentinels"], known["num-slaves"]) == (sentinels, replicas)
