"""What the sessions that are measured hold."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

Session = dict[str, Any]

#: Kinds of sites in the dictionary's corpus, one of each field: basket, settings,
#: notices, a course, and what a site makes up for itself.
KINDS = ("cart", "preferences", "messages", "learning", "bespoke")

#: The small session: five values beside those of a login.
VALUES: Session = {
    "theme": "dark",
    "language": "en",
    "visits": 17,
    "last_page": "/catalogue/garden-chairs/",
    "recent": [1841, 2077, 919],
}

#: Of a dictionary that does not ship with the package.
OWN_NUMBER = 16

SMALL, ANONYMOUS, LARGE = "small", "small-anonymous", "large"
LARGE_BYTES = 20_000
# Words read better as text.
WORDS = """
    garden chair table lamp oak linen wool cotton steel glass round square small large
    bright dark red green blue grey folding stacking modern classic outdoor kitchen
""".split()  # noqa: SIM905


def login(number: int, rng: Random) -> Session:
    """Return what Django keeps of a login. Every session has a user of its own."""
    return {
        "_auth_user_id": str(number),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": f"{rng.getrandbits(256):064x}",
    }


def small(number: int) -> Session:
    rng = Random(number)
    page = f"/{rng.choice(WORDS)}s/{rng.choice(WORDS)}-{rng.randrange(9999)}/"
    return {
        **login(number, rng),
        "theme": "dark",
        "language": rng.choice(["en", "de", "fr", "es", "pt-br"]),
        "visits": rng.randrange(1000),
        "last_page": page,
        "recent": [rng.randrange(10_000) for _ in range(3)],
    }


def anonymous(number: int) -> Session:
    """Return a small one of somebody who has not logged in."""
    data = small(number)
    return {name: data[name] for name in data if not _of_a_login(name)}


def large(number: int) -> Session:
    """Return one of 20 KB: of a site that keeps what its visitors have looked at."""
    rng = Random(number)
    data = small(number)
    seen = data["seen"] = []
    size = 0
    while size < LARGE_BYTES:
        line = {
            "id": rng.randrange(10**6),
            "title": " ".join(rng.sample(WORDS, 4)),
            "price": f"{rng.randrange(10**5) / 100:.2f}",
            "token": f"{rng.getrandbits(64):016x}",
            "at": 1_790_000_000 + rng.randrange(10**7),
        }
        seen.append(line)
        size += len(json.dumps(line, separators=(",", ":"))) + 1
    return data


def of_kind(kind: str, count: int) -> list[Session]:
    """Return sessions of this kind of site that no dictionary was made from."""
    corpus, train = _dictionary_tools()
    found = [json.loads(text) for text in corpus.samples(kind, count, train.TESTING)]
    for session in found:  # The time of some is over, and these can't be saved.
        session.pop("_session_expiry", None)
    return found


def dictionary_without(kind: str) -> bytes:
    """Return a dictionary that was trained on other kinds of sites only."""
    corpus, train = _dictionary_tools()
    samples = corpus.corpus(train.SAMPLES, train.TRAINING)
    like = kinds_like(kind, samples)
    rest = [samples[other] for other in samples if other not in like]
    trained = train.train(rest, train.SIZE)
    # Behind the magic number stands the dictionary's own, which has to be another.
    return bytes(trained[:4] + OWN_NUMBER.to_bytes(4, "little") + trained[8:])


def kinds_like(kind: str, samples: dict[str, list[bytes]]) -> set[str]:
    """
    Return which kinds of the corpus know these sessions: the kind itself, or those that
    have one of their keys.
    """
    if kind in samples:
        return {kind}
    names = {name for name in _names(sessions(kind, 1)) if not _of_a_login(name)}
    keys = [json.dumps(name).encode() + b":" for name in names]
    return {
        other
        for other, texts in samples.items()
        if any(key in text for text in texts for key in keys)
    }


def _names(value: Any) -> Iterator[str]:
    """Yield all keys in it."""
    inner = value
    if isinstance(value, dict):
        yield from value
        inner = value.values()
    if isinstance(inner, Iterable) and not isinstance(inner, str):
        for part in inner:
            yield from _names(part)


def _of_a_login(name: str) -> bool:
    return name.startswith("_auth_user_")


#: Those that are not of the corpus.
MADE: dict[str, Callable[[int], Session]] = {
    SMALL: small,
    ANONYMOUS: anonymous,
    LARGE: large,
}


def sessions(kind: str, count: int) -> list[Session]:
    """Return so many sessions of this kind, of the corpus or not."""
    if make := MADE.get(kind):
        return [make(number) for number in range(count)]
    return of_kind(kind, count)


def _dictionary_tools() -> tuple[Any, Any]:
    """Return the modules that make the dictionary. They stand beside, as programs."""
    folder = str(Path(__file__).parent / "dictionary")
    if folder not in sys.path:
        sys.path.append(folder)
    import corpus
    import train

    return corpus, train
