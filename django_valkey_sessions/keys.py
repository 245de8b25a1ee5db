"""
From the session key in the cookie to the key in Valkey.

The cookie's value is a credential and is never stored. Its hash, the session's
id, is not one: commands, logs and the admin may show it.
"""

import base64
import binascii
import hashlib
import os
import re

#: How many hexadecimal digits an id has.
ID_SIZE = 32
#: How many slots a cluster has.
SLOTS = 16384

_ID = re.compile(rf"[0-9a-f]{{{ID_SIZE}}}")
_INDEX = "user:"
_SPECIAL = re.compile(rb"[^0-9A-Za-z@._~+-]")
_QUOTED = re.compile(rb"%([0-9a-f]{2})")
_GLOB = re.compile(r"([\\*?\[\]])")


def new_session_key() -> str:
    """
    Return a new session key: 160 random bits as 32 of the characters that
    Django's session keys consist of.
    """
    # Django's get_random_string() draws each character by itself and takes ten
    # times as long; base32 needs no rejection and no second draw.
    return base64.b32encode(os.urandom(20)).decode("ascii").lower()


def session_id(session_key: str) -> str:
    """Return the id of the session with this key: 32 hexadecimal digits."""
    # What a client sends as a cookie need not be well-formed text.
    digest = hashlib.sha256(session_key.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:ID_SIZE]


def stored_key(prefix: str, id: str) -> str:
    """Return the key under which Valkey holds the session with this id."""
    return prefix + id


def moved_key(prefix: str, id: str) -> str:
    """
    Return the key that says that the session with this id was moved here. "moved:" is
    not hexadecimal, so it is no session's. In a cluster the braces put it on the node
    of the session, so that one script can see to both.
    """
    return f"{prefix}moved:{{{stored_key(prefix, id)}}}"


def stored_id(prefix: str, key: str) -> str | None:
    """
    Return the id of the session that Valkey holds under this key; None if the
    key is not a session of ours (a prefix can also begin somebody else's keys).
    """
    if not key.startswith(prefix):
        return None
    id = key[len(prefix) :]
    return id if _ID.fullmatch(id) else None


def index_key(prefix: str, user: str) -> bytes:
    """Return the key under which Valkey holds the index of this user's sessions."""
    # No id begins with "user:". Quoted, because what a site uses as ids need not be
    # well-formed text; and so that a colon tells the indexes of another site apart,
    # whose prefix begins as this one's indexes do.
    name = user.encode("utf-8", "surrogatepass")
    quoted = _SPECIAL.sub(lambda found: b"%%%02x" % found[0][0], name)
    return f"{prefix}{_INDEX}".encode() + quoted


def turn_key(prefix: str, user: str) -> bytes:
    """Return the key that says that a login of this user is ending other sessions."""
    return prefix.encode() + b"turn:" + index_key("", user)


def indexed_user(prefix: str, key: str) -> str | None:
    """Return the user whose index Valkey holds under this key; None if it is none."""
    start = prefix + _INDEX
    if not key.startswith(start):
        return None
    quoted = key[len(start) :].encode()
    name = _QUOTED.sub(lambda found: bytes.fromhex(found[1].decode()), quoted)
    try:
        user = name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return user if index_key(prefix, user).decode() == key else None


def match_pattern(prefix: str) -> str:
    """Return the SCAN pattern for all keys with this prefix, taken literally."""
    return _GLOB.sub(r"\\\1", prefix) + "*"


def session_pattern(prefix: str) -> str:
    """Return the SCAN pattern for the sessions with this prefix, and few other keys."""
    return match_pattern(prefix)[:-1] + "?" * ID_SIZE


def index_pattern(prefix: str) -> str:
    """Return the SCAN pattern for the indexes of users with this prefix."""
    return match_pattern(prefix + _INDEX)


def slot(key: bytes) -> int:
    """Return the slot of a cluster that this key is in."""
    # What stands in the first braces, if anything does, decides for all of the key.
    start = key.find(b"{") + 1
    end = key.find(b"}", start) if start else 0
    return binascii.crc_hqx(key[start:end] if start < end else key, 0) % SLOTS
