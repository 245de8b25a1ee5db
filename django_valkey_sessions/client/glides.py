"""
Where GLIDE is spoken of by name. It takes 0.3 s and 20 MB to import, so it is not
imported before the first command.
"""

import copy
import inspect
import os
import sys
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

from .. import __version__
from ..conf import Address, BadSetting, Place, conf
from ..flow import Command
from .errors import WithErrors, told, translated
from .times import CONNECTION_TIMEOUT, RECONNECT, REQUEST_TIMEOUT

#: Milliseconds that a sentinel has to accept a connection, and again to answer.
SENTINEL_TIMEOUT = 200


# Making clients.


def new_client(addresses: Place) -> Any:
    factory = conf.CLIENT
    try:
        if factory is not None:
            return factory()
        import glide_sync

        _silence_glide()
        kind = glide_sync.GlideClusterClient if conf.CLUSTER else glide_sync.GlideClient
        return _kind(kind).create(configuration(addresses))
    except glide_error() as error:
        raise translated(error) from told(error)


@cache
def _kind(kind: Any) -> Any:
    """
    Return GLIDE's class of blocking clients, but for its hook that connects each client
    anew in a forked child: also those that have never found a server (0.3 s for each),
    all of which it keeps for that.
    """

    class Client(kind):  # type: ignore[misc]
        @property
        def _create_core_client(self) -> Callable[[], None]:
            maker, client = os.getpid(), weakref.ref(self)

            def create() -> None:
                made = client()
                if made is not None and os.getpid() == maker:
                    kind._create_core_client(made)

            return create

    return Client


async def new_async_client(addresses: Place) -> Any:
    import glide

    _silence_glide()
    kind = glide.GlideClusterClient if conf.CLUSTER else glide.GlideClient
    lazy = configuration(addresses)
    # Without this, connecting would hold up the event loop.
    lazy.lazy_connect = True
    client = None
    try:
        client = await kind.create(lazy)
        await client.custom_command(["PING"])
    except BaseException as error:
        if client is not None:
            await client.close()
        if isinstance(error, glide_error()):
            raise translated(error) from told(error)
        raise
    return client


def _silence_glide() -> None:
    """Keep GLIDE's log off standard output, unless the site has set it up."""
    from glide_shared.logger import Level, Logger

    Logger.init(Level.OFF)


def configuration(addresses: Place | None = None) -> Any:
    """
    Return GLIDE's configuration object for these addresses, by default for all of
    LOCATION; of the same class for both clients. Raise BadSetting if GLIDE does not
    accept the settings.
    """
    import glide_shared.config as glide

    if conf.CLUSTER:
        kind: Any = glide.GlideClusterClientConfiguration
        advanced: Any = glide.AdvancedGlideClusterClientConfiguration
    else:
        kind = glide.GlideClientConfiguration
        advanced = glide.AdvancedGlideClientConfiguration
    location, options = conf.LOCATION, dict(conf.OPTIONS)
    try:
        tls = _taken(options, glide.TlsAdvancedConfiguration)
        fine = _taken(options, advanced)
        if "advanced_config" in options and (tls or fine):
            raise ValueError(
                f"advanced_config is given beside its own {', '.join([*tls, *fine])}"
            )
        fine.setdefault("connection_timeout", CONNECTION_TIMEOUT)
        if tls:
            fine["tls_config"] = glide.TlsAdvancedConfiguration(**tls)
        arguments = {
            "addresses": [
                glide.NodeAddress(host, port)
                for host, port in addresses or location.addresses
            ],
            "use_tls": location.tls,
            "request_timeout": REQUEST_TIMEOUT,
            "reconnect_strategy": glide.BackoffStrategy(*RECONNECT),
            "client_info_tag": f"django-valkey-sessions:{__version__}",
            "advanced_config": advanced(**fine),
        }
        if location.socket:
            arguments["addresses"] = [
                glide.NodeAddress(unix_socket_path=location.socket)
            ]
        if location.password:
            arguments["credentials"] = glide.ServerCredentials(
                location.password, location.username
            )
        if location.database:
            arguments["database_id"] = location.database
        made = kind(**{**arguments, **options})
        # GLIDE looks at most of them only when it connects, which does this.
        made._create_a_protobuf_conn_request(cluster_mode=conf.CLUSTER)
        return made
    except (AttributeError, TypeError, ValueError, glide_error()) as error:
        raise BadSetting(
            "E009",
            f"GLIDE does not accept OPTIONS in VALKEY_SESSIONS: {error}.",
            "The names are the arguments of GLIDE's configuration classes "
            f"({kind.__name__}, {advanced.__name__}, TlsAdvancedConfiguration).",
        ) from None


def _taken(options: dict[str, Any], kind: type) -> dict[str, Any]:
    """Take those options that are arguments of the class out of the others."""
    names = inspect.signature(kind).parameters
    return {name: options.pop(name) for name in list(options) if name in names}


def sentinel_client(sentinel: Address) -> Any:
    """Return a client that asks a sentinel and does no more."""
    import glide_shared.config as glide
    import glide_sync

    _silence_glide()
    location = conf.LOCATION
    asking = configuration((sentinel,))
    asking.request_timeout = SENTINEL_TIMEOUT
    asking.advanced_config = copy.copy(asking.advanced_config)
    asking.advanced_config.connection_timeout = SENTINEL_TIMEOUT
    asking.reconnect_strategy = glide.BackoffStrategy(0, 10, 2)
    # Without this, GLIDE asks for things that a sentinel does not know.
    asking.node_discovery_mode = glide.NodeDiscoveryMode.STATIC
    asking.database_id = asking.credentials = None
    if location.sentinel_password:
        asking.credentials = glide.ServerCredentials(
            location.sentinel_password, location.sentinel_username
        )
    return _kind(glide_sync.GlideClient).create(asking)


# Commands and replies.


@cache
def batch_of(in_cluster: bool) -> Callable[[tuple[Command, ...]], Any]:
    """Return the class of batches, which is made with the commands in it."""
    from glide_shared.commands.batch import Batch, ClusterBatch

    kind: Any = ClusterBatch if in_cluster else Batch
    ((custom, _),) = kind(is_atomic=False).custom_command(["PING"]).commands

    class Together(kind):  # type: ignore[misc]
        def __init__(self, commands: tuple[Command, ...]) -> None:
            # As custom_command() does it one by one, which looks up the number anew,
            # and takes a lock that only batches need that are still added to.
            self.is_atomic = False
            self.commands = [(custom, command) for command in commands]

    return Together


def replies_of(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            return WithErrors(map(_translated_if_error, replies))
    return replies


def _translated_if_error(reply: Any) -> Any:
    return translated(reply) if isinstance(reply, Exception) else reply


def cluster_scan(module: str, command: Command) -> tuple[Any, ...]:
    """
    Return the arguments of GLIDE's scan() over all primaries of a cluster. Its
    cursor is an object, which takes the place of the number in the command.
    """
    _, cursor, _, pattern, _, count = command
    if cursor == "0":
        return sys.modules[module].ClusterScanCursor(), pattern, int(count)
    return cursor, pattern, int(count)


def route(slot: int) -> Any:
    from glide_shared.routes import SlotIdRoute, SlotType

    return SlotIdRoute(SlotType.PRIMARY, slot)


def scanned(reply: list[Any]) -> list[Any]:
    cursor, keys = reply
    return [b"0" if cursor.is_finished() else cursor, keys]


@cache
def glide_error() -> Any:
    # The class is imported by whoever made the client; where nobody did, nothing
    # of GLIDE's can be on its way.
    from glide_shared.exceptions import GlideError

    return GlideError
