"""See the package."""

import argparse
from importlib import import_module

PARTS = ("commands", "sizes", "crowds", "keys", "requests")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.growth")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="The default.")
    size.add_argument("--full", action="store_true")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args()
    if unknown := {*chosen.parts} - {*PARTS}:
        parser.error(f"There is no part {', '.join(sorted(unknown))}.")
    for part in chosen.parts or PARTS:
        print(f"{part}:", flush=True)
        import_module(f"{__package__}.{part}").main(chosen.full)


if __name__ == "__main__":
    main()
