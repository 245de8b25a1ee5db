"""The envelope: round trips, layout, damage, secrets, dictionaries."""

import hashlib
import hmac
import json
import re
import struct
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import hypothesis
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.signing import JSONSerializer
from django.test import override_settings
from hypothesis import strategies as st

from django_valkey_sessions import codec, keys, shorthand
from django_valkey_sessions.codec import Unreadable, Version, pack, unpack
from django_valkey_sessions.conf import BadSetting

patient = hypothesis.settings(
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)

KEY = "0123456789abcdefghijklmnopqrstuv"
ID = keys.session_id(KEY)
OTHER = keys.session_id("another")
MARK = bytes.fromhex(ID)[:8]
SECRET = "a secret of fifty characters that only this test has"

CREATED = 1_700_000_000
EXPIRES = 1_800_000_000_123

#: Too short to be compressed.
SHORT = b'{"a":1}'
#: An ordinary session.
LONG = json.dumps(
    {
        "_auth_user_id": "4711",
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab",
        "cart": [{"article": 17, "count": 2}, {"article": 4, "count": 1}],
    }
).encode()


@pytest.fixture(autouse=True)
def defaults(settings):
    settings.SECRET_KEY = SECRET
    settings.SECRET_KEY_FALLBACKS = []
    settings.VALKEY_SESSIONS = {}


@pytest.fixture
def unsealed(settings):
    settings.VALKEY_SESSIONS = {"SEAL": False}


@pytest.fixture(params=[True, False], ids=["sealed", "unsealed"])
def seal(request, settings):
    settings.VALKEY_SESSIONS = {"SEAL": request.param}
    return request.param


def seals(on):
    return override_settings(VALKEY_SESSIONS={"SEAL": on})


def number(blob):
    """Return the number of the dictionary that the body is compressed with."""
    return blob[1] & 0b0001_1111


def flipped(blob, place, mask=0xFF):
    return blob[:place] + bytes([blob[place] ^ mask]) + blob[place + 1 :]


# Round trips.

PAYLOADS = st.binary(max_size=300) | st.builds(
    lambda piece, times: piece * times, st.binary(max_size=20), st.integers(0, 500)
)
CREATION = st.integers(0, 2**32 - 1)
EXPIRY = st.none() | st.integers(0, 2**64 - 1)


@patient
@hypothesis.given(PAYLOADS, CREATION, EXPIRY, st.booleans())
def test_what_was_packed_is_unpacked(payload, created, expires, on):
    with seals(on):
        blob = pack(payload, ID, created, expires)
        stamp = codec.stamp_of(blob)
        assert unpack(blob, ID) == Version(payload, created, stamp, expires)


@patient
@hypothesis.given(PAYLOADS, EXPIRY, st.booleans())
def test_a_value_is_never_larger_than_head_payload_and_tag(payload, expires, on):
    with seals(on):
        head = codec.HEAD_SIZE if expires is not None else 18
        tag = 16 if on else 8
        assert len(pack(payload, ID, CREATED, expires)) <= head + len(payload) + tag


@pytest.mark.usefixtures("seal")
def test_an_ordinary_session_takes_less_than_two_thirds():
    assert len(pack(LONG, ID, CREATED)) < len(LONG) * 2 / 3


@pytest.mark.usefixtures("seal")
def test_a_payload_above_the_limit_is_stored_as_it_is(monkeypatch):
    monkeypatch.setattr(codec, "MAX_COMPRESSED", 1_000)
    at, above = pack(b"x" * 1_000, ID, CREATED), pack(b"x" * 1_001, ID, CREATED)
    assert (number(at), number(above)) == (codec.SHIPPED, 0)
    assert unpack(above, ID).payload == b"x" * 1_001


@pytest.mark.usefixtures("seal")
def test_each_write_has_a_stamp_of_its_own():
    stamps = {codec.stamp_of(pack(LONG, ID, CREATED)) for _ in range(1_000)}
    assert len(stamps) == 1_000


def test_eight_threads_get_their_own_sessions_back():
    """zstd works without the interpreter's lock, long enough to meet another thread."""
    start = threading.Barrier(8)

    def work(thread):
        start.wait()
        wrong = []
        for turn in range(20):
            seed = f"{thread} {turn}"
            id = keys.session_id(seed)
            payload = hashlib.shake_128(seed.encode()).hexdigest(30_000).encode()
            if unpack(pack(payload, id, CREATED), id).payload != payload:
                wrong.append(turn)
        return wrong

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [[]] * 8


# Layout.


@pytest.mark.usefixtures("unsealed")
def test_the_layout_of_an_unsealed_value():
    blob = pack(SHORT, ID, CREATED)
    created = CREATED.to_bytes(4, "big")
    assert blob == b"\x01\x00" + created + codec.stamp_of(blob) + MARK + SHORT


@pytest.mark.usefixtures("unsealed")
def test_the_layout_of_an_unsealed_value_with_expiry():
    blob = pack(SHORT, ID, CREATED, EXPIRES)
    created, expires = CREATED.to_bytes(4, "big"), EXPIRES.to_bytes(8, "big")
    stamp = codec.stamp_of(blob)
    assert blob == b"\x01\x40" + created + stamp + expires + MARK + SHORT


@pytest.mark.parametrize(
    ("expires", "flags", "head"), [(None, 0x80, 18), (EXPIRES, 0xC0, 26)]
)
def test_a_seal_is_aes_gcm_with_a_key_for_each_session(expires, flags, head):
    blob = pack(SHORT, ID, CREATED, expires)
    info = b"django_valkey_sessions.codec.seal.1"
    main = HKDF(SHA256(), 32, salt=None, info=info).derive(SECRET.encode())
    cipher = AESGCM(hmac.digest(main, ID.encode(), "sha256"))
    opened = cipher.decrypt(blob[6:18], blob[head:], blob[:head] + ID.encode())
    assert (blob[:2], opened) == (bytes([1, flags]), SHORT)


@pytest.mark.parametrize(
    "secret", [b"x", b"s" * 63, b"s" * 64, b"s" * 65, b"s" * 1000, "schlüssel".encode()]
)
def test_the_key_behind_all_seals_is_that_of_hkdf(secret):
    info = b"of these"
    expected = HKDF(SHA256(), 32, salt=None, info=info).derive(secret)
    assert codec._derived(secret, info) == expected


def test_the_key_behind_all_seals_is_that_of_rfc_5869():
    # Its third example, without salt and info, of which we take the first 32 bytes.
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert codec._derived(b"\x0b" * 22, b"").hex() == expected


def test_a_value_of_version_1_stays_readable():
    blob = bytes.fromhex(
        "01c06553f100efe06ad37f85a109daa0c587000001a3185c507b"
        "7e09a11029065f7c4cc54d9a607ecce87fbd22458c46e0"
    )
    assert unpack(blob, ID) == Version(SHORT, CREATED, blob[6:18], EXPIRES)


@pytest.mark.parametrize(
    ("on", "flags"), [(False, codec.SHIPPED), (True, 0x80 | codec.SHIPPED)]
)
def test_the_flags_of_a_compressed_value_name_the_dictionary(on, flags):
    with seals(on):
        assert pack(LONG, ID, CREATED)[1] == flags


@pytest.mark.parametrize("size", range(20))
@pytest.mark.usefixtures("seal")
def test_the_stamp_of_a_value_is_as_much_as_there_is(size):
    blob = pack(LONG, ID, CREATED)
    assert codec.stamp_of(blob[:size]) == blob[6 : max(6, min(size, 18))]


@pytest.mark.usefixtures("seal")
@pytest.mark.parametrize("expires", [None, 0, EXPIRES])
def test_the_head_of_a_value_tells_its_expiry(expires):
    head = pack(LONG, ID, CREATED, expires)[: codec.HEAD_SIZE]
    assert codec.expiry_of(head) == expires


@pytest.mark.parametrize(
    "head", [b"", b"no envelope", b"\x02" + bytes(25), b"\x01\x40" + bytes(23)]
)
def test_what_is_not_ours_has_no_expiry(head):
    assert codec.expiry_of(head) is None


# Damage to sealed values.


@pytest.fixture(params=[SHORT, LONG], ids=["plain", "compressed"])
def sealed(request):
    return pack(request.param, ID, CREATED, EXPIRES)


@pytest.mark.parametrize("place", range(codec.HEAD_SIZE))
@pytest.mark.parametrize("bit", range(8))
def test_no_bit_of_a_sealed_head_can_be_changed(sealed, place, bit):
    with pytest.raises(Unreadable):
        unpack(flipped(sealed, place, 1 << bit), ID)


@patient
@hypothesis.given(st.sampled_from([SHORT, LONG]), st.data())
def test_no_bit_of_a_sealed_body_can_be_changed(payload, data):
    blob = pack(payload, ID, CREATED)
    place = data.draw(st.integers(18, len(blob) - 1))
    mask = data.draw(st.integers(1, 255))
    with pytest.raises(Unreadable):
        unpack(flipped(blob, place, mask), ID)


@pytest.mark.parametrize("size", range(codec.HEAD_SIZE + len(SHORT) + 16))
def test_a_sealed_value_can_not_be_cut(size):
    with pytest.raises(Unreadable):
        unpack(pack(SHORT, ID, CREATED, EXPIRES)[:size], ID)


@pytest.mark.parametrize("more", [b"\0", bytes(1_000)], ids=len)
def test_nothing_can_be_appended_to_a_sealed_value(sealed, more):
    with pytest.raises(Unreadable):
        unpack(sealed + more, ID)


@pytest.mark.parametrize(
    "part", [slice(2, 6), slice(6, 18), slice(18, 26), slice(26, None)]
)
def test_no_part_of_a_sealed_value_fits_another(part):
    one = bytearray(pack(b"one", ID, CREATED, EXPIRES))
    one[part] = pack(b"two", ID, CREATED + 1, EXPIRES + 1)[part]
    with pytest.raises(Unreadable):
        unpack(bytes(one), ID)


@pytest.mark.usefixtures("seal")
def test_a_value_of_another_session_is_refused():
    with pytest.raises(Unreadable, match="another session"):
        unpack(pack(LONG, OTHER, CREATED), ID)


@pytest.mark.usefixtures("seal")
@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_value_of_another_version_is_refused(version):
    blob = bytes([version]) + pack(LONG, ID, CREATED)[1:]
    with pytest.raises(Unreadable, match=f"version {version}"):
        unpack(blob, ID)


def test_an_unsealed_value_is_refused_where_seal_is_on():
    with seals(False):
        blob = pack(LONG, ID, CREATED)
    with pytest.raises(Unreadable, match="SEAL is on"):
        unpack(blob, ID)


def test_a_sealed_value_whose_flag_was_taken_away_is_refused(sealed):
    with seals(False), pytest.raises(Unreadable):
        unpack(flipped(sealed, 1, codec.SEALED), ID)


def test_a_sealed_value_is_readable_where_seal_is_off():
    blob = pack(LONG, ID, CREATED)
    with seals(False):
        assert unpack(blob, ID).payload == LONG


# Damage to unsealed values: nothing guards the body, but it can't do harm.


def forged(flags, body, mark=MARK):
    """Return an unsealed value as who can write to the server could make it."""
    return struct.pack(">BBI12s", 1, flags, CREATED, b"stamp") + mark + body


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("size", range(18 + 8))
def test_an_unsealed_value_without_the_whole_head_is_refused(size):
    with pytest.raises(Unreadable):
        unpack(pack(SHORT, ID, CREATED)[:size], ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("size", range(18, 26))
def test_an_unsealed_value_without_the_whole_expiry_is_refused(size):
    with pytest.raises(Unreadable):
        unpack(pack(SHORT, ID, CREATED, EXPIRES)[:size], ID)


@patient
@hypothesis.given(st.data())
def test_an_unsealed_compressed_value_can_not_be_cut(data):
    with seals(False):
        blob = pack(LONG, ID, CREATED)
        size = data.draw(st.integers(0, len(blob) - 1))
        with pytest.raises(Unreadable):
            unpack(blob[:size], ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("more", [b"\0", bytes(1_000)], ids=len)
def test_nothing_can_be_appended_to_an_unsealed_compressed_value(more):
    with pytest.raises(Unreadable):
        unpack(pack(LONG, ID, CREATED) + more, ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("place", range(18, 26))
def test_an_unsealed_value_with_another_mark_is_refused(place):
    with pytest.raises(Unreadable, match="another session"):
        unpack(flipped(pack(LONG, ID, CREATED), place), ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("unknown", range(codec.SHIPPED + 1, 32))
def test_a_value_compressed_with_an_unknown_dictionary_is_refused(unknown):
    with pytest.raises(Unreadable, match=f"dictionary {unknown}, which is not in"):
        unpack(forged(unknown, b"body"), ID)


def frame(size):
    """Return a zstd frame, without the magic number, that promises so many bytes."""
    return b"\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    "size", [codec.MAX_COMPRESSED + 1, 2**32, 2**40, 2**63, 2**64 - 2, 2**64 - 1]
)
def test_a_body_that_promises_too_much_is_refused(size):
    with pytest.raises(Unreadable, match=f"promises {size} bytes"):
        unpack(forged(codec.SHIPPED, frame(size)), ID)


@pytest.mark.usefixtures("unsealed")
def test_a_body_that_does_not_say_its_size_is_refused():
    with pytest.raises(Unreadable):
        unpack(forged(codec.SHIPPED, b"\x00\x58\x01\x00\x00"), ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    "body",
    [b"", b"\0", SHORT, frame(10), frame(codec.MAX_COMPRESSED), b"\xff" * 100],
    ids=["empty", "zero", "plain", "short", "much", "ones"],
)
def test_a_body_that_is_no_frame_is_refused(body):
    with pytest.raises(Unreadable):
        unpack(forged(codec.SHIPPED, body), ID)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    "body",
    [
        b"\x08",  # No content size.
        b"\x08\x05text",  # Less than promised.
        b"\x08\x02text",  # More than promised.
        b"\x18\x01\x01" + bytes(15),  # Less aside than a unit.
        b"\x28\x01\x02" + bytes(32),  # More aside than is asked for.
        b"\x18\x01\x01" + bytes(16),  # Less aside than is asked for.
        b"\x18\x01x" + bytes(16),  # Nothing is asked for.
        b"\xf8\x00" + bytes(100),  # More units than there are bytes.
        b"\x0a\x80" + bytes(2000),  # No block.
        b"\x0c",  # No long frame.
        b"\x0c" + frame(codec.MAX_COMPRESSED + 1),
    ],
)
def test_a_damaged_packed_body_is_refused(body):
    with pytest.raises(Unreadable):
        unpack(forged(codec.SHIPPED, body), ID)


# Shorthand.

DIGITS = st.binary(min_size=16, max_size=32).map(bytes.hex)
#: What is written shorter, what looks like it, and what it is written with.
PIECES = (
    st.sampled_from(
        [
            '"',
            '""',
            "-",
            "{}",
            "\0",
            *map(chr, range(1, 9)),
            '{"_auth_user_id":"17","_auth_user_backend":'
            '"django.contrib.auth.backends.ModelBackend","_auth_user_hash":',
            '"_auth_user_id":"',
            '","_auth_user_backend":"',
            '","_auth_user_hash":',
        ]
    )
    | st.uuids().map(str)
    | st.uuids().map(lambda value: f'"{value}"')
    | st.binary(min_size=32, max_size=32).map(lambda value: f'"{value.hex()}"')
    | st.binary(min_size=16, max_size=16).map(lambda value: f'"{value.hex()}"')
    | st.binary(min_size=16, max_size=16).map(lambda value: f'"{value.hex().upper()}"')
    | DIGITS
)
WRITTEN = st.lists(PIECES, max_size=40).map(lambda pieces: "".join(pieces).encode())


@patient
@hypothesis.given(WRITTEN, st.integers(0, 15))
def test_what_was_shortened_is_lengthened(payload, units):
    shortened = shorthand.shorten(payload, units)
    if shortened is None:
        assert any(bytes([mark]) in payload for mark in range(1, 8))
        return
    text, aside = shortened
    assert len(aside) <= units * shorthand.UNIT
    assert len(text) + len(aside) <= len(payload)
    assert shorthand.lengthen(text, aside) == payload


@patient
@hypothesis.given(WRITTEN | st.binary(max_size=4_000), st.booleans())
def test_what_was_packed_in_shorthand_is_unpacked(payload, on):
    with seals(on):
        assert unpack(pack(payload, ID, CREATED), ID).payload == payload


def test_what_a_login_stores_takes_less_than_fifteen_bytes_beside_the_hash():
    data = {
        "_auth_user_id": "4711",
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": hashlib.sha256(b"").hexdigest(),
    }
    assert codec.body_sizes([JSONSerializer().dumps(data)])[0] < 32 + 15


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 2_047, 2_048, 2_049, 70_000])
def test_any_size_is_packed_and_unpacked(size):
    noise = hashlib.shake_128(b"").digest(size)
    text = (json.dumps(noise.hex()).encode() + b"," * size)[:size]
    for payload in (noise, text, b"a" * size, bytes(size), LONG + text):
        blob = pack(payload, ID, CREATED)
        assert unpack(blob, ID).payload == payload
        assert len(blob) <= 18 + 8 + len(payload)


def test_a_block_that_has_no_packed_frame_stays_a_frame():
    """zstd could write one byte and how often it comes, and for now doesn't."""

    class Repeating:
        def compress(self, text):
            head = len(text) << 3 | 1 << 1 | 1
            return bytes([0x20, len(text)]) + head.to_bytes(3, "little") + text[:1]

    with seals(False):
        body = codec._short_body(b"a" * 99, Repeating())
        assert unpack(forged(codec.SHIPPED, body), ID).payload == b"a" * 99


#: As they were written before there was shorthand, with dictionary 1.
OLDER = (
    (
        bytes.fromhex(
            "20ef550300034611291a297e8e8e54737c7c3e1c1d8d393e3e9f1b31e0e0e8f844d8"
            "955576d0c5f8b27a73f2c1c638d6b998d2f933ba7d74c6c5bffc2b2ecada63d27d38"
            "38383a3ecced3f1c010bfc9f6d01383078ef7a1acdfa91acd58150337ab4f97483a2"
            "c92015c611fc846a29"
        ),
        LONG,
    ),
    (
        bytes.fromhex(
            "60ac11850300f305113452fc1c1da9e6f8f87c383a1a737c7c3e3762c0c1d1f189b0"
            "2babeca08bf165f5e6e4838d71ac7331a5f36774fbe88c8b7ff9575c94b5c7a4fb70"
            "7070747c98db7f38020dfca9211f0664f4eddb4d40fd053c543cdd9dfc48bc75a056"
            "1a06d07c2a86a2932585440b4e2e6816"
        ),
        LONG * 20,
    ),
)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(("body", "payload"), OLDER, ids=["short", "long"])
def test_what_dictionary_1_compressed_stays_readable(body, payload):
    assert unpack(forged(1, body), ID).payload == payload


def test_published_dictionaries_never_change():
    folder = resources.files("django_valkey_sessions") / "dictionaries"
    hashes = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in folder.iterdir()
    }
    assert hashes == {"1.zdict": "969a5fbefa4d976b", "2.zdict": "d73de4b91ae7d077"}


# Any bytes at all.


def opened(blob, on):
    """Open a value; let nothing but Unreadable pass."""
    with seals(on):
        try:
            return unpack(blob, ID)
        except Unreadable as error:
            return error


@patient
@hypothesis.given(st.binary(max_size=100), st.booleans())
def test_arbitrary_bytes_are_unreadable_or_an_envelope(blob, on):
    assert isinstance(opened(blob, on), (Unreadable, Version))


@patient
@hypothesis.given(st.binary(max_size=100), st.integers(0, 255))
def test_an_arbitrary_body_is_refused_where_seal_is_on(body, flags):
    assert isinstance(opened(forged(flags, body), on=True), Unreadable)


@patient
@hypothesis.given(st.binary(max_size=100), st.integers(0, 255))
def test_an_arbitrary_body_does_no_harm_where_seal_is_off(body, flags):
    assert isinstance(opened(forged(flags, body), on=False), (Unreadable, Version))


@patient
@hypothesis.given(PAYLOADS, st.data())
def test_a_damaged_frame_does_no_harm(payload, data):
    with seals(False):
        blob = pack(payload + LONG, ID, CREATED)
    place = data.draw(st.integers(26, len(blob) - 1))
    mask = data.draw(st.integers(1, 255))
    damaged = opened(flipped(blob, place, mask), on=False)
    assert isinstance(damaged, (Unreadable, Version))


# Secrets.


def test_a_sealed_value_shows_neither_key_nor_id_nor_payload():
    payload = b'{"name":"Ada Lovelace","_auth_user_id":"4711"}'
    blob = pack(payload, ID, CREATED)
    for secret in (KEY, ID, "Lovelace", "name", "_auth_user_id", "4711"):
        assert secret.encode() not in blob
    assert bytes.fromhex(ID)[:4] not in blob


def test_another_secret_key_does_not_open_a_value(settings):
    blob = pack(LONG, ID, CREATED)
    settings.SECRET_KEY = "another secret"
    with pytest.raises(Unreadable, match="SECRET_KEY_FALLBACKS"):
        unpack(blob, ID)


@pytest.mark.parametrize("fallbacks", [[SECRET], ["older", SECRET], [SECRET.encode()]])
def test_a_secret_key_among_the_fallbacks_opens_a_value(settings, fallbacks):
    blob = pack(LONG, ID, CREATED)
    settings.SECRET_KEY = "another secret"
    settings.SECRET_KEY_FALLBACKS = fallbacks
    assert unpack(blob, ID).payload == LONG


def test_nothing_is_sealed_with_a_fallback(settings):
    settings.SECRET_KEY_FALLBACKS = ["older"]
    blob = pack(LONG, ID, CREATED)
    settings.SECRET_KEY_FALLBACKS = []
    assert unpack(blob, ID).payload == LONG


def test_a_secret_key_of_bytes_is_the_same_as_one_of_text(settings):
    blob = pack(LONG, ID, CREATED)
    settings.SECRET_KEY = SECRET.encode()
    assert unpack(blob, ID).payload == LONG
    assert unpack(pack(SHORT, ID, CREATED), ID).payload == SHORT


def test_a_secret_key_that_is_no_text_seals_and_opens(settings):
    settings.SECRET_KEY = bytes(range(128, 192))
    assert unpack(pack(LONG, ID, CREATED), ID).payload == LONG


def test_two_sessions_with_the_same_data_look_different():
    one, other = pack(LONG, ID, CREATED), pack(LONG, OTHER, CREATED)
    assert one[18:] != other[18:]


# Serializers.


def serializer(dumped=b"", loaded=None):
    class Serializer:
        def dumps(self, obj):
            return dumped

        def loads(self, data):
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

    return Serializer


def test_djangos_serializer_writes_and_reads_a_session():
    payload = codec.serialize({"a": [1, None]}, JSONSerializer)
    assert payload == b'{"a":[1,null]}'
    assert codec.deserialize(payload, JSONSerializer) == {"a": [1, None]}


@pytest.mark.parametrize("dumped", ["text", None, {}, bytearray(b"x")])
def test_a_serializer_that_does_not_return_bytes_is_a_mistake(dumped):
    with pytest.raises(TypeError, match=f"{type(dumped).__name__}, not bytes"):
        codec.serialize({}, serializer(dumped))


@pytest.mark.parametrize("loaded", [None, [], "private", 17, [("a", 1)]])
def test_a_payload_that_is_no_dictionary_is_unreadable(loaded):
    with pytest.raises(Unreadable, match=f"it holds {type(loaded).__name__}"):
        codec.deserialize(b"", serializer(loaded=loaded))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("private"),
        KeyError("private"),
        RecursionError("private"),
        UnicodeDecodeError("utf-8", b"private", 0, 1, "private"),
    ],
    ids=repr,
)
def test_an_error_of_the_serializer_is_told_without_its_message(error):
    with pytest.raises(Unreadable, match=type(error).__name__) as raised:
        codec.deserialize(b"", serializer(loaded=error))
    assert "private" not in "".join(traceback.format_exception(raised.value))


def test_too_little_memory_says_nothing_about_the_value():
    with pytest.raises(MemoryError):
        codec.deserialize(b"", serializer(loaded=MemoryError()))


@patient
@hypothesis.given(st.binary())
def test_arbitrary_bytes_do_not_break_djangos_serializer(payload):
    try:
        data = codec.deserialize(payload, JSONSerializer)
    except Unreadable:
        data = {}
    assert isinstance(data, dict)


# What a session may hold, and what json writes although nobody should ask it to.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=12,
)


@patient
@hypothesis.given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_sessions_are_written_as_djangos_serializer_does(data):
    payload = codec.serialize(data, JSONSerializer)
    assert payload == JSONSerializer().dumps(data)
    read = codec.deserialize(payload, JSONSerializer)
    assert repr(read) == repr(JSONSerializer().loads(payload))


@pytest.mark.parametrize("data", [{"a": {1}}, {"a": b"x"}, {("a",): 1}, {"a": object}])
def test_what_djangos_serializer_does_not_write_is_the_same_error(data):
    with pytest.raises(TypeError) as theirs:
        JSONSerializer().dumps(data)
    with pytest.raises(TypeError, match=f"^{re.escape(str(theirs.value))}$"):
        codec.serialize(data, JSONSerializer)


TEXTS = st.sampled_from(
    [
        '{"a":1}',
        "{",
        "}",
        "{}",
        "[]",
        "1",
        '"a"',
        "NaN",
        "null",
        " ",
        "\t",
        "\n",
        "\x00",
    ]
)


@patient
@hypothesis.given(
    st.lists(TEXTS, max_size=5).map("".join).map(str.encode) | st.binary()
)
@hypothesis.example(b"\xef\xbb\xbf{}")
@hypothesis.example(b'{"a":1' + b"0" * 5000 + b"}")
def test_foreign_payloads_are_read_as_djangos_serializer_does(payload):
    try:
        theirs = JSONSerializer().loads(payload)
    except ValueError:
        theirs = None
    try:
        ours = codec.deserialize(payload, JSONSerializer)
    except Unreadable:
        ours = None
    assert repr(ours) == repr(theirs if isinstance(theirs, dict) else None)


# Dictionaries of the site.

SITE = [
    json.dumps({"shop": f"branch {n % 7}", "basket": [n, n * 3], "greeting": "moin"})
    for n in range(1_000)
]
ORDINARY = SITE[500].encode()


@pytest.fixture
def trained(tmp_path):
    """Train a dictionary with this number on the site's sessions; return its path."""

    def trained(number, name=None):
        samples = [sample.encode() for sample in SITE]
        path = tmp_path / (name or f"{number}.zdict")
        dictionary = zstandard.train_dictionary(2_000, samples, dict_id=number)
        path.write_bytes(dictionary.as_bytes())
        return path

    return trained


@pytest.fixture
def use(settings, seal):
    """Set DICTIONARY, sealed and not."""

    def use(*paths):
        settings.VALKEY_SESSIONS = {"DICTIONARY": paths, "SEAL": seal}

    return use


def test_the_sites_own_dictionary_compresses_better(use, trained):
    with_ours = pack(ORDINARY, ID, CREATED)
    use(trained(16))
    with_theirs = pack(ORDINARY, ID, CREATED)
    assert number(with_theirs) == 16
    assert len(with_theirs) < len(with_ours)


@pytest.mark.parametrize("own", [16, 17, 31])
def test_the_sites_own_dictionary_is_used_in_both_directions(use, trained, own):
    use(trained(own))
    assert unpack(pack(ORDINARY, ID, CREATED), ID).payload == ORDINARY


def test_the_first_dictionary_compresses_and_older_ones_stay_readable(use, trained):
    use(trained(16))
    blob = pack(ORDINARY, ID, CREATED)
    use(trained(17), trained(16))
    assert unpack(blob, ID).payload == ORDINARY
    assert number(pack(ORDINARY, ID, CREATED)) == 17


def test_what_the_shipped_dictionary_compressed_stays_readable(use, trained):
    blob = pack(LONG, ID, CREATED)
    use(trained(16))
    assert number(blob) == codec.SHIPPED
    assert unpack(blob, ID).payload == LONG


def test_without_its_dictionary_a_value_is_unreadable(use, trained):
    use(trained(16))
    blob = pack(ORDINARY, ID, CREATED)
    use(trained(17))
    with pytest.raises(Unreadable, match="dictionary 16, which is not in DICTIONARY"):
        unpack(blob, ID)


@pytest.fixture
def refused(use):
    """Return the error that these dictionaries give at the first write."""

    def refused(*paths):
        use(*paths)
        with pytest.raises(BadSetting) as raised:
            pack(ORDINARY, ID, CREATED)
        assert raised.value.id == "E022"
        assert repr(str(paths[-1])) in raised.value.msg
        return raised.value

    return refused


@pytest.mark.parametrize("other", [1, 15, 32, 100_000])
def test_a_dictionary_with_a_number_out_of_range_is_refused(refused, trained, other):
    assert f"number {other}." in refused(trained(other)).msg


def test_a_dictionary_with_a_number_that_is_taken_is_refused(refused, trained):
    error = refused(trained(16), trained(16, "again.zdict"))
    assert "number 16, as one before it" in error.msg


def test_a_dictionary_that_is_not_there_is_refused(refused, tmp_path):
    assert "No such file" in refused(tmp_path / "missing.zdict").msg


def test_a_folder_is_no_dictionary(refused, tmp_path):
    assert "can't be read" in refused(tmp_path).msg


@pytest.mark.parametrize("content", [b"", b"x", LONG * 9, bytes(5_000)], ids=len)
def test_a_file_that_is_no_dictionary_is_refused(refused, tmp_path, content):
    path = tmp_path / "text.zdict"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("size", [8, 9, 20, 50])
def test_a_dictionary_that_is_cut_is_refused(refused, trained, size):
    path = trained(16)
    path.write_bytes(path.read_bytes()[:size])
    refused(path)


def test_a_dictionary_with_damaged_tables_is_refused(refused, trained):
    path = trained(16)
    content = path.read_bytes()
    path.write_bytes(content[:8] + bytes(200) + content[208:])
    refused(path)
