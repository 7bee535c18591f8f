"""The Chinese pages say what the English ones say: the same commands, sections, rows and tests."""

import re

import pytest

from proxysite.tests.documents.blocks import TRANSLATED_PAGES, read_page

FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
COMMENT = "<!-- runnable -->"
MOVING_PAGES = {
    "coming-from-k2think-and-kimi.md",
    "coming-from-o1-api.md",
    "coming-from-openkimi.md",
}
pages = pytest.mark.parametrize(("name", "source"), TRANSLATED_PAGES.items())


def read_prose(name: str) -> str:
    return FENCED.sub("", read_page(name))


def list_test_files(text: str) -> list[str]:
    """Return the tests that tables name, in their order."""
    return re.findall(r"`([\w/*]+/|[\w/*]*test_\w+\.py)`", text)


def test_every_page_for_those_who_move_is_translated() -> None:
    names = {name.rsplit("/", 1)[-1] for name in TRANSLATED_PAGES}
    assert names == MOVING_PAGES | {"README.zh-CN.md"}


@pages
def test_the_commands_are_the_same(name: str, source: str) -> None:
    assert FENCED.findall(read_page(name)) == FENCED.findall(read_page(source))
    assert read_page(name).count(COMMENT) == read_page(source).count(COMMENT)


@pages
def test_no_section_and_no_row_is_missing(name: str, source: str) -> None:
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"^\*\*"):
        translated, original = (
            len(re.findall(pattern, read_prose(page), re.MULTILINE)) for page in (name, source)
        )
        assert translated == original, pattern


@pages
def test_the_same_tests_are_named(name: str, source: str) -> None:
    assert list_test_files(read_prose(name)) == list_test_files(read_prose(source))


@pages
def test_the_two_languages_lead_to_each_other(name: str, source: str) -> None:
    assert "](" + ("../" if "/" in name else "") + source.rsplit("/", 1)[-1] + ")" in read_page(
        name
    )
    assert f"]({name.removeprefix('docs/')})" in read_page(source)


@pages
def test_the_prose_is_chinese(name: str, source: str) -> None:
    prose = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", read_prose(name))
    chinese = len(re.findall(r"[\u4e00-\u9fff]", prose))
    english_words = re.findall(r"\b[a-z]{4,}\b", prose)
    assert chinese > 500
    assert len(english_words) * 12 < chinese, english_words
