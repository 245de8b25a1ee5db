"""
Asking sentinels for the primary. GLIDE does not know them, but it can be used to ask.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from ..conf import Address, Place, conf, shown
from ..exceptions import SessionStoreUnavailable
from ..flow import Command
from .errors import only, told
from .glides import batch_of, glide_error, replies_of, sentinel_client


def named(sentinels: list[Address]) -> list[Place]:
    """
    Return the primaries that sentinels name, all of which are asked at the same time:
    after a failover some may not have heard of it yet.
    """
    with ThreadPoolExecutor(len(sentinels)) as threads:
        answers = list(threads.map(named_by, sentinels))
    named = [(one,) for one in answers if not isinstance(one, SessionStoreUnavailable)]
    if not named:
        raise cast(SessionStoreUnavailable, answers[0])
    return list(dict.fromkeys(named))


def named_by(sentinel: Address) -> Address | SessionStoreUnavailable:
    """Return the primary that a sentinel names, or why it names none."""
    who = f"The sentinel at {shown([sentinel])}"
    service = conf.LOCATION.service
    try:
        client = sentinel_client(sentinel)
        try:
            words: Command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", str(service)]
            answer = only(replies_of(client.exec(batch_of(False)((words,)), False)))
        finally:
            client.close()
    except SessionStoreUnavailable as error:
        return error
    except glide_error() as error:
        # GLIDE does not say why, when it is told to ask nothing but this.
        unknown = SessionStoreUnavailable(
            f"{who} does not answer. Is it running, and are its address and "
            "sentinel_password in LOCATION in VALKEY_SESSIONS right?"
        )
        unknown.__cause__ = told(error)
        return unknown
    if answer is None:
        return SessionStoreUnavailable(
            f"{who} knows no service {service!r}. Is LOCATION in VALKEY_SESSIONS right?"
        )
    host, port = answer
    return host.decode(), int(port)
