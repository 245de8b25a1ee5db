"""
Train the dictionary that ships with the package, and say honestly what it is worth.

    python train.py                 write the dictionary
    python train.py --evaluate      measure it on kinds of sites it has not seen
"""

import argparse
import re
import statistics
import timeit
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard
from corpus import corpus

NUMBER = 1
PACKAGE = Path(__file__).resolve().parents[2] / "django_valkey_sessions"

#: zstd searches a dictionary below 16 KB more finely at the same level.
SIZE = 15800
LEVEL = 4
LEVELS = (1, 3, 4, 5, 6, 9, 12, 19)

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

#: What most sessions begin with. The fast search finds best what stands at the end.
LOGIN = (
    b'"}{"_auth_user_id":"1","_auth_user_backend":'
    b'"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"'
)


def train(kinds: Iterable[list[bytes]], size: int) -> bytes:
    # In turns: the trainer takes a part of the content from each stretch of samples.
    in_turns = [sample for turn in zip(*kinds, strict=True) for sample in turn]
    # An eighth more than asked for, because what is random in it goes out again.
    trained = zstandard.train_dictionary(
        size + size // 8, in_turns, dict_id=NUMBER, k=400, d=6, level=LEVEL
    ).as_bytes()
    tables, offsets, content = trained.partition(OFFSETS)
    content = RANDOM.sub(b"", content) + LOGIN
    room = size - len(tables) - len(offsets)
    return tables + offsets + content[-room:]


def held_out(samples: Samples, size: int) -> dict[str, bytes]:
    """Return a dictionary for each kind, trained on all of the other kinds."""
    return {
        kind: train((rest for other, rest in samples.items() if other != kind), size)
        for kind in samples
    }


# Measuring


def compressor(dictionary: bytes | None, level: int) -> zstandard.ZstdCompressor:
    """Return a compressor for frames as the package makes them."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
    )
    if dictionary is None:
        return zstandard.ZstdCompressor(compression_params=parameters)
    data = zstandard.ZstdCompressionDict(dictionary)
    data.precompute_compress(level=level)
    return zstandard.ZstdCompressor(dict_data=data, compression_params=parameters)


def sizes(
    samples: list[bytes], dictionary: bytes | None, level: int = LEVEL
) -> list[int]:
    compress = compressor(dictionary, level).compress
    return [len(compress(sample)) for sample in samples]


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
        sizes(sessions, None),
        sizes(sessions, other),
        sizes(sessions, final),
    ]


def microseconds(function: Callable[[bytes], bytes], arguments: list[bytes]) -> float:
    # The best of many: the others tell about the machine's other work.
    times = timeit.repeat(lambda: [*map(function, arguments)], number=1, repeat=60)
    return min(times) / len(arguments) * 1e6


def print_levels(samples: Samples, others: dict[str, bytes], final: bytes) -> None:
    about_300 = [
        session
        for sessions in samples.values()
        for session in sessions
        if 290 <= len(session) <= 310
    ]
    decompressor = zstandard.ZstdDecompressor(
        dict_data=zstandard.ZstdCompressionDict(final),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
    )
    print("| level | held out | final | compress, us | decompress, us |")
    print("| --: | --: | --: | --: | --: |")
    for level in LEVELS:
        away, known = [], []
        for kind, sessions in samples.items():
            away += sizes(small(sessions), others[kind], level)
            known += sizes(small(sessions), final, level)
        compress = compressor(final, level).compress
        frames = [compress(session) for session in about_300]
        assert [decompressor.decompress(frame) for frame in frames] == about_300
        there = microseconds(compress, about_300)
        back = microseconds(decompressor.decompress, frames)
        print(
            f"| {level} | {statistics.mean(away):.1f} | {statistics.mean(known):.1f} "
            f"| {there:.1f} | {back:.1f} |"
        )


def evaluate(size: int) -> None:
    training, testing = corpus(SAMPLES, TRAINING), corpus(SAMPLES, TESTING)
    others, final = held_out(training, size), train(training.values(), size)
    print(f"Medians, bytes; dictionary of {len(final)} bytes, level {LEVEL}\n")
    print_kinds(testing, others, final)
    print(f"\nMeans of the sessions of {SMALL[0]} to {SMALL[-1]} bytes\n")
    print_levels(testing, others, final)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument(
        "--evaluate", action="store_true", help="measure, write nothing"
    )
    parser.add_argument(
        "--size", type=int, default=SIZE, help="of the dictionary, bytes"
    )
    parser.add_argument(
        "--output", type=Path, default=PACKAGE / "dictionaries" / f"{NUMBER}.zdict"
    )
    options = parser.parse_args()
    if options.evaluate:
        evaluate(options.size)
        return
    dictionary = train(corpus(SAMPLES, TRAINING).values(), options.size)
    options.output.write_bytes(dictionary)
    print(f"{options.output.name}: {len(dictionary)} bytes")


if __name__ == "__main__":
    main()
