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
"""

import hmac
import os
import struct
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

from .conf import BadSetting, conf

VERSION = 1
SEALED = 0b1000_0000
EXPIRING = 0b0100_0000
LEADING = 0b0010_0000
DICTIONARY = 0b0001_1111

#: The dictionary that ships with the package; a site's own are FIRST_OWN to 31.
SHIPPED = 1
FIRST_OWN = 16
#: Of zstd's levels the one that the shipped dictionary is made for.
LEVEL = 4

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


class Unreadable(Exception):
    """The value is damaged, foreign, or sealed with a secret we don't have."""


@dataclass(frozen=True, slots=True)
class Envelope:
    payload: bytes = field(repr=False)  # Reprs get into error reports.
    created: int  # Unix seconds.
    stamp: bytes
    expires: int | None  # Unix milliseconds; None: the key itself expires.
    leads: bool = False  # The payload is no session but leads to one.


def serialize(data: dict[str, Any], serializer: Any) -> bytes:
    """Return the payload: the session's data as the serializer writes it."""
    payload = serializer().dumps(data)
    if isinstance(payload, bytes):
        return payload
    raise TypeError(
        f"dumps() of the session serializer returned {type(payload).__name__}, "
        "not bytes."
    )


def deserialize(payload: bytes, serializer: Any) -> dict[str, Any]:
    """Return the session's data. Raise Unreadable if the payload is something else."""
    try:
        data = serializer().loads(payload)
    except MemoryError:
        raise  # That says nothing about the value.
    except Exception as error:
        # Anything can go wrong in a serializer that is given foreign bytes, and
        # its message may show them.
        raise Unreadable(f"the serializer refused it: {type(error).__name__}") from None
    if isinstance(data, dict):
        return data
    raise Unreadable(f"it holds {type(data).__name__}, not a dictionary")


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
        return header + _id_mark(id) + body
    sealed = _cipher(settings.SECRET_KEY, id).encrypt(stamp, body, header + id.encode())
    return header + sealed


def unpack(blob: bytes, id: str) -> Envelope:
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
    return Envelope(payload, created, stamp, expires, bool(flags & LEADING))


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


def _unseal(body: bytes, stamp: bytes, associated: bytes, id: str) -> bytes:
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
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
    return AESGCM(hmac.digest(_sealing_key(secret), id.encode(), "sha256"))


@lru_cache(maxsize=16)
def _sealing_key(secret: str | bytes) -> bytes:
    info = b"django_valkey_sessions.codec.seal.1"
    return HKDF(SHA256(), 32, salt=None, info=info).derive(force_bytes(secret))


# Compressing. zstd's contexts are costly to make and not thread-safe: each thread
# keeps its own.


_Dictionary = zstandard.ZstdCompressionDict


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[_Dictionary, zstandard.ZstdCompressor] = {}
        self.decompressors: dict[_Dictionary, zstandard.ZstdDecompressor] = {}


_contexts = _Contexts()

# A frame without magic number, checksum and dictionary id: four bytes each that say
# what the envelope says or the seal guards. The content size stays: it costs nothing
# in a small frame, and lets the reader allocate once and refuse a trap.
_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS
_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    LEVEL,
    format=_FORMAT,
    write_checksum=False,
    write_dict_id=False,
    write_content_size=True,
)


def _compress(payload: bytes) -> tuple[int, bytes]:
    """Return the number of the dictionary, 0 for none, and the body."""
    number, dictionary = _dictionary_in_use()
    body = _body(payload, dictionary)
    return (number if body is not payload else 0), body


def _body(payload: bytes, dictionary: _Dictionary) -> bytes:
    """Return the payload compressed, or itself if that is not larger."""
    compressor = _contexts.compressors.get(dictionary)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(
            dict_data=dictionary, compression_params=_PARAMETERS
        )
        _contexts.compressors[dictionary] = compressor
    if len(payload) <= MAX_COMPRESSED:
        body = compressor.compress(payload)
        if len(body) < len(payload):
            return body
    return payload


def _decompress(body: bytes, number: int) -> bytes:
    dictionary = _dictionary(number)
    context = _contexts.decompressors.get(dictionary)
    if context is None:
        context = zstandard.ZstdDecompressor(dict_data=dictionary, format=_FORMAT)
        _contexts.decompressors[dictionary] = context
    try:
        size = zstandard.get_frame_parameters(body, format=_FORMAT).content_size
        if size > MAX_COMPRESSED:
            raise Unreadable(f"its body promises {size} bytes")
        return context.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Unreadable("its compressed body is damaged") from None


def _dictionary_in_use() -> tuple[int, _Dictionary]:
    paths = conf.DICTIONARY
    if not paths or paths[0] is None:
        return SHIPPED, _shipped_dictionary()
    return next(iter(own_dictionaries(paths).items()))


def _dictionary(number: int) -> _Dictionary:
    if number == SHIPPED:
        return _shipped_dictionary()
    try:
        return own_dictionaries(conf.DICTIONARY)[number]
    except KeyError:
        raise Unreadable(
            f"it is compressed with dictionary {number}, which is not in DICTIONARY"
        ) from None


@lru_cache(maxsize=1)
def _shipped_dictionary() -> _Dictionary:
    folder = resources.files("django_valkey_sessions") / "dictionaries"
    return _prepared((folder / f"{SHIPPED}.zdict").read_bytes())


def _prepared(content: bytes) -> _Dictionary:
    """Return the dictionary, digested once for all threads. Raise ZstdError if bad."""
    dictionary = _Dictionary(content)
    dictionary.precompute_compress(compression_params=_PARAMETERS)
    return dictionary


@lru_cache(maxsize=8)
def own_dictionaries(paths: tuple[Path | None, ...]) -> dict[int, _Dictionary]:
    """
    Return the site's own dictionaries by their numbers, in the order of the paths.
    Raise BadSetting if one can't be read.
    """
    dictionaries: dict[int, _Dictionary] = {}
    for path in filter(None, paths):
        try:
            dictionary = _prepared(path.read_bytes())
            number = dictionary.dict_id()
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

#: zstd searches a dictionary below 16 KB more finely at the same level.
DICTIONARY_SIZE = 15800


def train(payloads: list[bytes], number: int) -> bytes:
    """
    Return a dictionary for payloads like these, under this number. It holds pieces of
    them. Raise ValueError if they are too few, or have too little in common.
    """
    try:
        # The parameters are those of the dictionary that ships.
        return zstandard.train_dictionary(
            DICTIONARY_SIZE, [*payloads], dict_id=number, k=400, d=6, level=LEVEL
        ).as_bytes()
    except zstandard.ZstdError as error:
        raise ValueError("There is too little to learn from them.") from error


def body_sizes(payloads: list[bytes], dictionary: bytes | None = None) -> list[int]:
    """
    Return how many bytes each payload takes, compressed with this dictionary, by
    default with the one that is in use. Head and seal come on top.
    """
    used = _dictionary_in_use()[1] if dictionary is None else _prepared(dictionary)
    return [len(_body(payload, used)) for payload in payloads]
