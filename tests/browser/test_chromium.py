"""The browser that the tests look through."""

import pytest

from . import chromium


def test_a_missing_browser_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/no/browser")
    with pytest.raises(FileNotFoundError, match=r"/no/browser\. Install Chromium"):
        chromium.find()
