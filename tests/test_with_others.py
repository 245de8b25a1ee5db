"""What docs/with-others.md shows is what the tests of these packages run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/with-others.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SOURCES = [path.read_text() for path in (ROOT / "tests/friends").rglob("*.py")]


@pytest.mark.parametrize("code", BLOCKS)
def test_a_block_of_code_is_one_that_is_run(code):
    assert any(code in source for source in SOURCES)


def test_the_document_says_how_to_run_them():
    (names,) = re.findall(r"tox -e\s+([\w,-]+)", TEXT)
    assert f"[testenv:{{{names}}}]" in (ROOT / "tox.ini").read_text()
