"""
From the serialized session to the value in Valkey, and back.

The value is an envelope, the same for every serializer:

    byte  0      format version
    byte  1      flags: bit 7 sealed, bit 6 expiry present, bit 5 it is no session but
                 leads to one (see renewal.py), bits 0-4 the number of the dictionary
                 that the body is compressed with, 0 if it is not
    bytes 2-5    created: unix seconds, unsigned, big-endian
    bytes 6-17   stamp: 12 random bytes, fresh at each write; the version for
                 compare-and-set, and the nonce of the seal
    8 bytes      expiry: unix milliseconds, unsigned, big-endian (if flagged)
    rest         body: seal(compress(payload))

Everything before the body and the session's id are authenticated by the seal.

A compressed body is a zstd frame without its magic number; or, told apart by a bit that
is always 0 in the first byte of a frame,

    a packed frame: of a short payload, in shorthand. The first byte says how many
              units of 16 bytes shorthand has put aside, which stand at the end; the
              content size follows, and the content of the frame's only block
    a long frame: one byte, and a frame that was made with the dictionary's text, but
              not with its statistics, which are those of short sessions
"""

import hashlib
import hmac
import json
import os
import pkgutil
import struct
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.signing import JSONSerializer
from django.utils.encoding import force_bytes
from django.views.decorators.debug import sensitive_variables

from . import shorthand
from .conf import BadSetting, conf

VERSION = 1
SEALED = 0b1000_0000
EXPIRING = 0b0100_0000
LEADING = 0b0010_0000
DICTIONARY = 0b0001_1111

#: The dictionary that ships with the package, and is used; older ones stay readable. A
#: site's own are FIRST_OWN to 31.
SHIPPED = 2
FIRST_OWN = 16

#: A payload above this many bytes is not compressed, and a compressed body that
#: promises more is refused: it would be a trap set by who can write to the server.
MAX_COMPRESSED = 64 * 1024 * 1024

STAMP_START, STAMP_END = 6, 18
_HEADER = struct.Struct(">BBI12s")
_EXPIRY = struct.Struct(">Q")
#: As many bytes of a value as hold everything before the body.
HEAD_SIZE = _HEADER.size + _EXPIRY.size
#: An unsealed body begins with this many bytes of its session's id.
_ID_SIZE = 8


class Hidden(bytes):
    """What error reports do not show: they print the variables of each function."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class Unreadable(Exception):
    """The value is damaged, foreign, or sealed with a secret we don't have."""


@dataclass(slots=True)
class Version:
    """A state of the session, as the server has it."""

    payload: bytes = field(repr=False)  # Reprs get into error reports.
    created: int  # Unix seconds.
    stamp: bytes
    expires: int | None  # Unix milliseconds; None: the server's key expires.
    leads: bool = False  # It is no session but leads to one: see renewal.py.
    user: str | None = None  # Whose session it is, for who has read the payload.


@sensitive_variables()
def serialize(data: dict[str, Any], serializer: Any) -> bytes:
    """Return the payload: the session's data as the serializer writes it."""
    if serializer is JSONSerializer:
        return Hidden(_write_json(data).encode("latin-1"))
    payload = serializer().dumps(data)
    if isinstance(payload, bytes):
        return Hidden(payload)
    raise TypeError(
        f"dumps() of the session serializer returned {type(payload).__name__}, "
        "not bytes."
    )


def deserialize(payload: bytes, serializer: Any) -> dict[str, Any]:
    """Return the session's data. Raise Unreadable if the payload is something else."""
    try:
        if serializer is JSONSerializer:
            data = _read_json(payload.decode("latin-1"))
        else:
            data = serializer().loads(bytes(payload))  # Some take nothing derived.
    except MemoryError:
        raise  # That says nothing about the value.
    except Exception as error:
        # Anything can go wrong in a serializer that is given foreign bytes, and
        # its message may show them.
        raise Unreadable(f"the serializer refused it: {type(error).__name__}") from None
    if isinstance(data, dict):
        return data
    raise Unreadable(f"it holds {type(data).__name__}, not a dictionary")


# What Django's serializer does, without what it does anew each time.
_write_json = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


def _read_json(text: str) -> Any:
    try:
        data, end = _decode(text)
    except ValueError:
        end = -1
    # Blanks may stand around it. Else this says what is wrong.
    return data if end == len(text) else json.loads(text)


def pack(
    payload: bytes,
    id: str,
    created: int,
    expires: int | None = None,
    leads: bool = False,
) -> bytes:
    """
    Return the value to store under this id. ``created`` is in unix seconds,
    ``expires`` in unix milliseconds; None leaves expiry to the server's key.
    """
    number, body = _compress(payload)
    sealing = conf.SEAL
    flags = number | (SEALED if sealing else 0) | (0 if expires is None else EXPIRING)
    flags |= LEADING if leads else 0
    stamp = os.urandom(12)
    header = _HEADER.pack(VERSION, flags, created, stamp)
    if expires is not None:
        header += _EXPIRY.pack(expires)
    if not sealing:
        return Hidden(header + _id_mark(id) + body)
    sealed = _cipher(settings.SECRET_KEY, id).encrypt(stamp, body, header + id.encode())
    return header + sealed


def unpack(blob: bytes, id: str) -> Version:
    """Open the value stored under this id. Raise Unreadable if that can't be done."""
    flags, created, stamp, expires, size = _head(blob)
    if flags & SEALED:
        body = _unseal(blob[size:], stamp, blob[:size] + id.encode(), id)
    elif conf.SEAL:
        # Who can write to the server must not be able to make up a login.
        raise Unreadable("it is not sealed, and SEAL is on")
    elif blob[size : size + _ID_SIZE] == _id_mark(id):
        body = blob[size + _ID_SIZE :]
    else:
        raise Unreadable("it belongs to another session")
    number = flags & DICTIONARY
    payload = _decompress(body, number) if number else body
    return Version(payload, created, stamp, expires, bool(flags & LEADING))


def stamp_of(blob: bytes) -> bytes:
    """Return the stamp in a value, or as much of it as there is."""
    return blob[STAMP_START:STAMP_END]


def expiry_of(head: bytes) -> int | None:
    """
    Return the expiry, in unix milliseconds, in the first HEAD_SIZE bytes of a
    value; None if there is none, also because the value is not ours.
    """
    try:
        return _head(head)[3]
    except Unreadable:
        return None


def expiry_in(lifetime: int) -> int:
    """Return in unix milliseconds when a lifetime that begins now is over."""
    return max(0, int(time.time() * 1000) + lifetime)


def is_over(expires: int | None) -> bool:
    """Return True if this moment, in unix milliseconds, is past."""
    return expires is not None and expires <= time.time() * 1000


def leads(head: bytes) -> bool:
    """Return True if a value that begins like this is no session but leads to one."""
    try:
        return bool(_head(head)[0] & LEADING)
    except Unreadable:
        return False


def _head(blob: bytes) -> tuple[int, int, bytes, int | None, int]:
    if len(blob) < _HEADER.size:
        raise Unreadable(f"it has only {len(blob)} bytes")
    version, flags, created, stamp = _HEADER.unpack_from(blob)
    if version != VERSION:
        raise Unreadable(f"it has format version {version}, not {VERSION}")
    if not flags & EXPIRING:
        return flags, created, stamp, None, _HEADER.size
    if len(blob) < HEAD_SIZE:
        raise Unreadable(f"it has only {len(blob)} bytes")
    (expires,) = _EXPIRY.unpack_from(blob, _HEADER.size)
    return flags, created, stamp, expires, HEAD_SIZE


def _id_mark(id: str) -> bytes:
    return bytes.fromhex(id)[:_ID_SIZE]


# Sealing.

#: HMAC's.
PADS = (0x36, 0x5C)


def _unseal(body: bytes, stamp: bytes, associated: bytes, id: str) -> bytes:
    try:
        return _cipher(settings.SECRET_KEY, id).decrypt(stamp, body, associated)
    except InvalidTag:
        pass
    for secret in settings.SECRET_KEY_FALLBACKS:
        try:
            return _cipher(secret, id).decrypt(stamp, body, associated)
        except InvalidTag:
            continue
    raise Unreadable(
        "its seal does not open: it is damaged, belongs to another session, or was "
        "sealed with a secret that is neither SECRET_KEY nor in SECRET_KEY_FALLBACKS"
    )


@lru_cache(maxsize=256)  # A request seals what it has opened a moment ago.
def _cipher(secret: str | bytes, id: str) -> AESGCM:
    # A key for each session: no limit on the number of random nonces to keep in
    # mind, and a value moved to another id does not open.
    #
    # HMAC-SHA256 of the id. Its two hashes have begun already, with all that does not
    # depend on the id: that takes a third of the time of hmac.digest().
    begun = _sealing_hashes(secret)
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(id.encode())
    outer.update(inner.digest())
    return AESGCM(outer.digest())


@lru_cache(maxsize=16)
def _sealing_hashes(secret: str | bytes) -> tuple[Any, Any]:
    key = _derived(force_bytes(secret), b"django_valkey_sessions.codec.seal.1")
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in PADS)
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _derived(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256 (RFC 5869), without a salt."""
    # It is one block, and so two HMACs; cryptography's would be more to import.
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


# Compressing. zstd's contexts are costly to make and not thread-safe: each thread
# keeps its own.


_Text = zstandard.ZstdCompressionDict


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A dictionary, digested once for all threads."""

    trained: _Text  # Text and statistics.
    text: _Text


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[_Text, zstandard.ZstdCompressor] = {}
        self.decompressors: dict[_Text, zstandard.ZstdDecompressor] = {}


_contexts = _Contexts()

# A frame without magic number, checksum and dictionary id: four bytes each that say
# what the envelope says or the seal guards. The content size stays: it lets the reader
# allocate once and refuse a trap.
_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS


def _parameters(level: int, **finer: int) -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        level,
        format=_FORMAT,
        write_checksum=False,
        write_dict_id=False,
        write_content_size=True,
        **finer,
    )


#: What zstd itself takes at level 4 for short texts. Spelt out, because with a level
#: alone it would search as for texts of unknown length, which finds less.
_SHORT = _parameters(
    4,
    strategy=zstandard.STRATEGY_GREEDY,
    window_log=14,
    chain_log=14,
    hash_log=14,
    search_log=4,
    min_match=4,
    target_length=2,
)
_LONG = _parameters(2)
#: A payload above this many bytes has statistics of its own, and is not packed.
LONGEST_SHORT = 2048

# Bit 3 of a frame's first byte is reserved, and always 0. Set, the byte is ours: how
# many units stand aside (bits 4-7), that it is a long frame (bit 2), that the block is
# compressed (bit 1), that the content size takes two bytes (bit 0).
_OURS, _IS_LONG, _IS_COMPRESSED, _IS_WIDE = 0b1000, 0b100, 0b10, 0b1
_MOST_UNITS = 15
#: What zstd writes in the place of our first byte, by the width of the content size.
_HEADS = (b"\x20", b"\x60")
_BLOCK_HEAD = 3
_RAW, _REPEATED = 0, 1  # Kinds of blocks.


def _compress(payload: bytes) -> tuple[int, bytes]:
    """Return the number of the dictionary, 0 for none, and the body."""
    number, dictionary = _dictionary_in_use()
    body = _body(payload, dictionary)
    return (number if body is not payload else 0), body


def _body(payload: bytes, dictionary: Dictionary) -> bytes:
    """Return the payload compressed, or itself if that is not larger."""
    if len(payload) > MAX_COMPRESSED:
        return payload
    if len(payload) > LONGEST_SHORT:
        frame = _compressor(dictionary.text, _LONG).compress(payload)
        body = bytes((_OURS | _IS_LONG,)) + frame
    else:
        body = _short_body(payload, _compressor(dictionary.trained, _SHORT))
    return body if len(body) < len(payload) else payload


def _short_body(payload: bytes, compressor: zstandard.ZstdCompressor) -> bytes:
    shortened = shorthand.shorten(payload, _MOST_UNITS)
    if shortened is not None:
        text, aside = shortened
        frame = compressor.compress(text)
        wide = frame[0] >> 6
        block = 2 + wide  # Where it begins.
        kind = frame[block] >> 1 & 3
        if kind != _REPEATED:
            units = len(aside) // shorthand.UNIT
            first = bytes((units << 4 | _OURS | kind | wide,))
            return first + frame[1:block] + frame[block + _BLOCK_HEAD :] + aside
    return compressor.compress(payload)


def _decompress(body: bytes, number: int) -> bytes:
    dictionary = _dictionary(number)
    first = body[0] if body else 0
    try:
        if not first & _OURS:
            return _inflate(body, dictionary.trained)
        if first & _IS_LONG:
            return _inflate(body[1:], dictionary.text)
        return _unpacked(body, first, _decompressor(dictionary.trained))
    except (zstandard.ZstdError, OverflowError, ValueError):
        raise Unreadable("its compressed body is damaged") from None


def _inflate(frame: bytes, dictionary: _Text) -> bytes:
    size = zstandard.get_frame_parameters(frame, format=_FORMAT).content_size
    if size > MAX_COMPRESSED:
        raise Unreadable(f"its body promises {size} bytes")
    return _decompressor(dictionary).decompress(frame, allow_extra_data=False)


def _unpacked(
    body: bytes, first: int, decompressor: zstandard.ZstdDecompressor
) -> bytes:
    wide = first & _IS_WIDE
    block, end = 2 + wide, len(body) - (first >> 4) * shorthand.UNIT
    # Its size, its kind, and that it is the last.
    head = (end - block) << 3 | (first & _IS_COMPRESSED) << 1 | 1
    frame = (
        _HEADS[wide]
        + body[1:block]
        + head.to_bytes(_BLOCK_HEAD, "little")
        + body[block:end]
    )
    # Of two bytes no more can be promised than does no harm.
    text = decompressor.decompress(frame, allow_extra_data=False)
    return shorthand.lengthen(text, body[end:])


def _compressor(
    dictionary: _Text, parameters: zstandard.ZstdCompressionParameters
) -> zstandard.ZstdCompressor:
    context = _contexts.compressors.get(dictionary)
    if context is None:
        context = zstandard.ZstdCompressor(
            dict_data=dictionary, compression_params=parameters
        )
        _contexts.compressors[dictionary] = context
    return context


def _decompressor(dictionary: _Text) -> zstandard.ZstdDecompressor:
    context = _contexts.decompressors.get(dictionary)
    if context is None:
        context = zstandard.ZstdDecompressor(dict_data=dictionary, format=_FORMAT)
        _contexts.decompressors[dictionary] = context
    return context


def _dictionary_in_use() -> tuple[int, Dictionary]:
    paths = conf.DICTIONARY
    if not paths or paths[0] is None:
        return SHIPPED, _shipped_dictionary(SHIPPED)
    return next(iter(own_dictionaries(paths).items()))


def _dictionary(number: int) -> Dictionary:
    if 1 <= number <= SHIPPED:
        return _shipped_dictionary(number)
    try:
        return own_dictionaries(conf.DICTIONARY)[number]
    except KeyError:
        raise Unreadable(
            f"it is compressed with dictionary {number}, which is not in DICTIONARY"
        ) from None


@lru_cache(maxsize=SHIPPED)
def _shipped_dictionary(number: int) -> Dictionary:
    # Django has pkgutil imported; importlib.resources would come on top.
    content = pkgutil.get_data(__package__, f"dictionaries/{number}.zdict")
    return _prepared(cast(bytes, content))  # None only if a loader has no files.


def _prepared(content: bytes) -> Dictionary:
    """Return the dictionary, digested. Raise ZstdError if it is none."""
    trained = _Text(content)
    trained.precompute_compress(compression_params=_SHORT)
    text = _Text(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    text.precompute_compress(compression_params=_LONG)
    return Dictionary(trained, text)


@lru_cache(maxsize=8)
def own_dictionaries(paths: tuple[Path | None, ...]) -> dict[int, Dictionary]:
    """
    Return the site's own dictionaries by their numbers, in the order of the paths.
    Raise BadSetting if one can't be read.
    """
    dictionaries: dict[int, Dictionary] = {}
    for path in filter(None, paths):
        try:
            dictionary = _prepared(path.read_bytes())
            number = dictionary.trained.dict_id()
        except (OSError, ValueError, zstandard.ZstdError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise _bad_dictionary(path, f"can't be read: {reason}") from error
        if not FIRST_OWN <= number <= DICTIONARY:
            raise _bad_dictionary(path, f"has the number {number}")
        if number in dictionaries:
            raise _bad_dictionary(path, f"has the number {number}, as one before it")
        dictionaries[number] = dictionary
    return dictionaries


def _bad_dictionary(path: Path, what: str) -> BadSetting:
    return BadSetting(
        "E022",
        f"The dictionary {str(path)!r} of DICTIONARY in VALKEY_SESSIONS {what}.",
        f"It has to be a zstd dictionary trained with a dict_id from {FIRST_OWN} to "
        f"{DICTIONARY}, a different one for each.",
    )


# Training.

#: A larger one would only know its own samples better.
DICTIONARY_SIZE = 15800


def train(payloads: list[bytes], number: int, size: int = DICTIONARY_SIZE) -> bytes:
    """
    Return a dictionary of so many bytes for payloads like these, under this number. It
    holds pieces of them. Raise ValueError if they are too few, or have too little in
    common.
    """
    texts: list[bytes | bytearray | memoryview[int]] = [*map(_text, payloads)]
    try:
        # The parameters are those of the dictionary that ships.
        return zstandard.train_dictionary(
            size, texts, dict_id=number, k=400, d=6, level=4
        ).as_bytes()
    except zstandard.ZstdError as error:
        raise ValueError("There is too little to learn from them.") from error


def _text(payload: bytes) -> bytes:
    # A dictionary has to know what is compressed with it, which is the shorthand.
    shortened = shorthand.shorten(payload, _MOST_UNITS)
    return payload if shortened is None else shortened[0]


def body_sizes(payloads: list[bytes], dictionary: bytes | None = None) -> list[int]:
    """
    Return how many bytes each payload takes, compressed with this dictionary, by
    default with the one that is in use. Head and seal come on top.
    """
    used = _dictionary_in_use()[1] if dictionary is None else _prepared(dictionary)
    return [len(_body(payload, used)) for payload in payloads]
