"""
What a compressor can't see in a session, written shorter.

A hexadecimal hash is half air, and no compressor finds that out in one session. What a
login stores is the same on every site but for three values. So, before compressing,
hashes and UUIDs become a mark of one byte and go aside as bytes, and the keys of a
login become marks, too. The marks are control characters, which JSON never has in it;
what has them is left as it is.
"""

import re
from binascii import hexlify, unhexlify

#: Hashes and UUIDs come aside in units of so many bytes.
UNIT = 16

_UUID = rb"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
#: 64 or 32 hexadecimal digits, or a UUID, in quotes. That it begins with a quote lets
#: Python skip what can't be one.
_HEXADECIMAL = re.compile(
    rb'"[0-9a-f]{8}(?:[0-9a-f]{24}(?:[0-9a-f]{32})?|' + _UUID + rb')"'
)
_SHA256, _MD5, _DASHED = b"\x01", b"\x02", b"\x03"
_MARK_BY_SIZE = {66: _SHA256, 34: _MD5, 38: _DASHED}
_ASIDE = re.compile(rb"[\x01-\x03]")

#: Values in servers were written with these: they never change.
_USER = b'"_auth_user_id":"'
_BACKEND = b'","_auth_user_backend":"'
_HASH = b'","_auth_user_hash":' + _SHA256
_DJANGOS = _BACKEND + b"django.contrib.auth.backends.ModelBackend" + _HASH
_USER_MARK, _DJANGOS_MARK, _BACKEND_MARK, _HASH_MARK = (
    b"\x04",
    b"\x05",
    b"\x06",
    b"\x07",
)
_MARKS = bytes(range(1, 8))


def shorten(payload: bytes, units: int) -> tuple[bytes, bytes] | None:
    """
    Return a shorter text and what goes aside, at most so many units of it; None if the
    payload holds something that would be taken for a mark.
    """
    if len(payload.translate(None, _MARKS)) != len(payload):
        return None
    text, aside = payload, b""
    for quoted in _HEXADECIMAL.findall(payload):
        mark = _MARK_BY_SIZE[len(quoted)]
        digits = quoted[1:-1] if mark != _DASHED else quoted[1:-1].replace(b"-", b"")
        raw = unhexlify(digits)
        if len(aside) + len(raw) > units * UNIT:
            break
        # The first one like it that is left is the one that was found.
        text = text.replace(quoted, mark, 1)
        aside += raw
    text = text.replace(_USER, _USER_MARK)
    shorter = text.replace(_DJANGOS, _DJANGOS_MARK)
    if len(shorter) == len(text):
        shorter = text.replace(_BACKEND, _BACKEND_MARK).replace(_HASH, _HASH_MARK)
    return shorter, aside


def lengthen(text: bytes, aside: bytes) -> bytes:
    """Return the payload again. Raise ValueError if the two don't belong together."""
    text = text.replace(_USER_MARK, _USER).replace(_DJANGOS_MARK, _DJANGOS)
    text = text.replace(_BACKEND_MARK, _BACKEND).replace(_HASH_MARK, _HASH)
    if len(aside) == 2 * UNIT and text.count(_SHA256) == 1:
        # The hash of a login alone, as nearly always.
        return text.replace(_SHA256, b'"%b"' % hexlify(aside))
    place = 0

    def put_back(found: re.Match[bytes]) -> bytes:
        nonlocal place
        mark = found[0]
        start, place = place, place + (2 * UNIT if mark == _SHA256 else UNIT)
        digits = hexlify(aside[start:place])
        if mark == _DASHED:
            digits = b"-".join(
                (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            )
        return b'"' + digits + b'"'

    payload = _ASIDE.sub(put_back, text)
    if place != len(aside):
        raise ValueError("What is aside is not what the text asks for.")
    return payload
