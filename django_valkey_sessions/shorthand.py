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

#: Written from the first to the last, and read the other way round: a phrase may hold
#: the marks above. Values in servers were written with these: they never change.
_PHRASES = (
    (b'"_auth_user_id":"', b"\x04"),
    (
        b'","_auth_user_backend":"django.contrib.auth.backends.ModelBackend",'
        b'"_auth_user_hash":' + _SHA256,
        b"\x05",
    ),
    (b'","_auth_user_backend":"', b"\x06"),
    (b'","_auth_user_hash":' + _SHA256, b"\x07"),
)
_MARKS = bytes(range(1, 8))


def shorten(payload: bytes, units: int) -> tuple[bytes, bytes] | None:
    """
    Return a shorter text and what goes aside, at most so many units of it; None if the
    payload holds something that would be taken for a mark.
    """
    if len(payload.translate(None, _MARKS)) != len(payload):
        return None
    aside = bytearray()
    room = units * UNIT

    def put_aside(found: re.Match[bytes]) -> bytes:
        quoted = found[0]
        mark = _MARK_BY_SIZE[len(quoted)]
        digits = quoted[1:-1]
        if mark == _DASHED:
            digits = digits.replace(b"-", b"")
        if len(aside) + len(digits) // 2 > room:
            return quoted
        aside.extend(unhexlify(digits))
        return mark

    text = _HEXADECIMAL.sub(put_aside, payload)
    for phrase, mark in _PHRASES:
        text = text.replace(phrase, mark)
    return text, bytes(aside)


def lengthen(text: bytes, aside: bytes) -> bytes:
    """Return the payload again. Raise ValueError if the two don't belong together."""
    for phrase, mark in reversed(_PHRASES):
        text = text.replace(mark, phrase)
    place = 0

    def put_back(found: re.Match[bytes]) -> bytes:
        nonlocal place
        mark = found[0]
        start, place = place, place + (32 if mark == _SHA256 else 16)
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
