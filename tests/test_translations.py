"""The catalogues: complete, and compiled as they are written (docs/translating.md)."""

import io
import re
from pathlib import Path

import pytest
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

import django_valkey_sessions

PACKAGE = Path(django_valkey_sessions.__file__).parent
DEMO = Path(__file__).parent.parent / "testproject" / "testproject"
CATALOGUES = [
    path
    for folder in (PACKAGE, DEMO)
    for path in sorted(folder.glob("locale/*/LC_MESSAGES/django.po"))
]
each_catalogue = pytest.mark.parametrize(
    "path",
    CATALOGUES,
    ids=[f"{path.parts[-5]}-{path.parts[-3]}" for path in CATALOGUES],
)
#: Django's functions, beside those that are named as gettext's own.
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
}


def sources(folder):
    """Yield each module, and each template as Python that has its texts."""
    for path in folder.rglob("*.py"):
        yield path.read_text(encoding="utf-8")
    for path in folder.rglob("templates/**/*.html"):
        code = templatize(path.read_text(encoding="utf-8"))
        # A template is indented as it likes.
        yield "\n".join(line.strip() for line in code.splitlines())


def texts(folder):
    """Return context and text of what is said there in the language of who looks."""
    return {
        (context, text)
        for source in sources(folder)
        for _, text, _, context in extract(
            "python", io.BytesIO(source.encode()), keywords=KEYWORDS
        )
    }


def read(path):
    """Return the translations, each in all its plural forms, by context and text."""
    with path.open("rb") as file:
        catalogue = (read_mo if path.suffix == ".mo" else read_po)(file)
    found = {}
    for message in catalogue:
        context = message.context
        if isinstance(context, bytes):
            context = context.decode()  # So read_mo() leaves it.
        if message.pluralizable:
            found[context, tuple(message.id)] = [*message.string]
        elif message.id:  # The one without is the header.
            found[context, message.id] = [message.string]
    return found


def places(text):
    return sorted(re.findall(r"%\(\w+\)\w", text))


def test_there_are_german_and_english():
    found = {path.parts[-5:-2:2] for path in CATALOGUES}
    assert found >= {(PACKAGE.name, "de"), (PACKAGE.name, "en"), (DEMO.name, "de")}


def test_the_texts_are_found():
    """Else the next tests would prove nothing."""
    found = texts(PACKAGE)
    assert (None, "Your sessions") in found
    assert ("last active", "Now") in found
    assert (None, "The session was ended.") in found
    assert (None, ("%(count)s session", "%(count)s sessions")) in found
    assert (None, "What Valkey holds") in texts(DEMO)


@each_catalogue
def test_a_catalogue_knows_every_text(path):
    assert texts(path.parents[3]) - read(path).keys() == set()


@each_catalogue
def test_only_the_english_one_leaves_a_text_as_it_is(path):
    empty = [key for key, strings in read(path).items() if not all(strings)]
    assert empty == [] or path.parts[-3] == "en"


@each_catalogue
def test_a_translation_has_the_places_of_its_text(path):
    for (_, text), strings in read(path).items():
        wanted = places(text if isinstance(text, str) else text[1])
        assert [s for s in strings if s and places(s) != wanted] == []


@each_catalogue
def test_a_catalogue_is_compiled_as_it_is_written(path):
    written = {key: strings for key, strings in read(path).items() if all(strings)}
    assert read(path.with_suffix(".mo")) == written
