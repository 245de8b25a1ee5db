"""
Train the dictionary that ships with the package, and say honestly what it is worth.

    python train.py                 write the dictionary
    python train.py --evaluate      measure it on kinds of sites it has not seen
"""

import argparse
import re
import statistics
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import zstandard
from corpus import corpus

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from django_valkey_sessions import codec, shorthand  # noqa: E402

NUMBER = 2
FOLDER = ROOT / "django_valkey_sessions" / "dictionaries"

SIZE = codec.DICTIONARY_SIZE
SAMPLES = 300
TRAINING, TESTING = 1, 2  # seeds: no session is both trained on and measured
SMALL = range(200, 601)

Samples = dict[str, list[bytes]]


# Training

#: A dictionary's tables end with its three recent offsets; all after them is content.
OFFSETS = b"\x01\0\0\0\x04\0\0\0\x08\0\0\0"

#: Hashes, UUIDs, tokens and clocks. Tokens have more capitals than names of classes.
RANDOM = re.compile(
    rb"[0-9a-f]{16,}"
    rb"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rb"|(?=[0-9a-z_-]{0,5}[A-Z](?:[0-9a-z_-]{0,12}[A-Z]){6})[0-9A-Za-z_-]{20,}"
    rb"|\d{9,}(?:\.\d+)?"
)

#: What most sessions begin with. What stands at the end is the cheapest to refer to.
LOGIN = shorthand.shorten(
    b'"}{"_auth_user_id":"1","_auth_user_backend":'
    b'"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"%064x"' % 0,
    2,
)


def train(kinds: Iterable[list[bytes]], size: int) -> bytes:
    # In turns: the trainer takes a part of the content from each stretch of samples.
    in_turns = [sample for turn in zip(*kinds, strict=True) for sample in turn]
    # An eighth more than asked for, because what is random in it goes out again.
    trained = codec.train(in_turns, NUMBER, size + size // 8)
    tables, offsets, content = trained.partition(OFFSETS)
    assert LOGIN
    content = RANDOM.sub(b"", content) + LOGIN[0]
    room = size - len(tables) - len(offsets)
    return tables + offsets + content[-room:]


def held_out(samples: Samples, size: int) -> dict[str, bytes]:
    """Return a dictionary for each kind, trained on all of the other kinds."""
    return {
        kind: train((rest for other, rest in samples.items() if other != kind), size)
        for kind in samples
    }


# Measuring


def small(samples: list[bytes]) -> list[bytes]:
    return [sample for sample in samples if len(sample) in SMALL]


def print_row(name: str, columns: list[list[int]]) -> None:
    medians = [statistics.median(column) for column in columns]
    figures = " | ".join(f"{median:5.0f}" for median in medians)
    print(f"| {name:<20} | {figures} | {medians[0] / medians[3]:5.2f} |")


def print_kinds(samples: Samples, others: dict[str, bytes], final: bytes) -> None:
    print("| kind of site         | plain |  zlib |  zstd | held out | final | ratio |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    total: list[list[int]] = [[], [], [], [], []]
    for kind, sessions in samples.items():
        columns = measure(sessions, others[kind], final)
        print_row(kind, columns)
        columns = measure(small(sessions), others[kind], final)
        total = [so_far + column for so_far, column in zip(total, columns, strict=True)]
    print_row(f"{SMALL[0]}-{SMALL[-1]} bytes, all", total)


def measure(sessions: list[bytes], other: bytes, final: bytes) -> list[list[int]]:
    return [
        [len(session) for session in sessions],
        [len(zlib.compress(session)) for session in sessions],
        [len(zstandard.compress(session)) for session in sessions],
        codec.body_sizes(sessions, other),
        codec.body_sizes(sessions, final),
    ]


def print_dictionaries(
    samples: Samples, others: dict[str, bytes], final: bytes
) -> None:
    """Print what each dictionary that was ever shipped would be worth today."""
    print("| dictionary | bytes |\n| --- | --: |")
    rows = {
        path.stem: dict.fromkeys(samples, path.read_bytes())
        for path in sorted(FOLDER.glob("*.zdict"))
    }
    rows |= {"held out": others, "final": dict.fromkeys(samples, final)}
    for name, dictionaries in rows.items():
        sizes = [
            size
            for kind, sessions in samples.items()
            for size in codec.body_sizes(small(sessions), dictionaries[kind])
        ]
        print(f"| {name} | {statistics.mean(sizes):.1f} |")


def evaluate(size: int) -> None:
    training, testing = corpus(SAMPLES, TRAINING), corpus(SAMPLES, TESTING)
    others, final = held_out(training, size), train(training.values(), size)
    print(f"Medians, bytes; dictionary of {len(final)} bytes\n")
    print_kinds(testing, others, final)
    print(f"\nMeans of the sessions of {SMALL[0]} to {SMALL[-1]} bytes\n")
    print_dictionaries(testing, others, final)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument(
        "--evaluate", action="store_true", help="measure, write nothing"
    )
    parser.add_argument(
        "--size", type=int, default=SIZE, help="of the dictionary, bytes"
    )
    parser.add_argument("--output", type=Path, default=FOLDER / f"{NUMBER}.zdict")
    options = parser.parse_args()
    if options.evaluate:
        evaluate(options.size)
        return
    dictionary = train(corpus(SAMPLES, TRAINING).values(), options.size)
    options.output.write_bytes(dictionary)
    print(f"{options.output.name}: {len(dictionary)} bytes")


if __name__ == "__main__":
    main()
