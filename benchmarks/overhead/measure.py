"""
What the engine's own Python costs beyond the call of GLIDE, and how near its awaiting
side comes to the bare client. In the root of a checkout, where the tests can be run:

    python benchmarks/overhead/measure.py [--rounds 5] [ANOTHER CHECKOUT ...]

Another checkout, such as that of the version before, is measured in turns with this.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

from tests import servers  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("others", nargs="*", type=Path)
    options = parser.parse_args()
    server = servers.Server()
    checkouts = [ROOT, *(other.resolve() for other in options.others)]
    found: dict[Path, list[dict[str, float]]] = {path: [] for path in checkouts}
    try:
        for _ in range(options.rounds):
            for path in checkouts:
                found[path].append(measured(path, server.url))
    finally:
        server.close()
    print("| |", " | ".join(path.name for path in checkouts), "|")
    print("| -- |" + " --: |" * len(checkouts))
    for name in found[ROOT][0]:
        medians = (
            statistics.median(one[name] for one in found[path]) for path in checkouts
        )
        print(f"| {name} |", " | ".join(f"{median:.2f}" for median in medians), "|")


def measured(path: Path, url: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "subject.py"), url],
        env={**os.environ, "PYTHONPATH": str(path)},
        check=True,
        stdout=subprocess.PIPE,
        timeout=300,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
