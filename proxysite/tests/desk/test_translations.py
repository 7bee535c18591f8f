"""Every text of the pages is marked for translation, and translated."""

import ast
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation

from proxysite.management.commands.write_messages import (
    CATALOGUE,
    LANGUAGE,
    compile_catalogue,
    write_catalogue,
)

ROOT = settings.BASE_DIR
FOLDER = settings.LOCALE_PATHS[0]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]")
TEMPLATE_CODE = re.compile(
    r"\{%\s*blocktranslate.*?endblocktranslate\s*%\}|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL
)
# names, units and code, which stay as they are in every language
SAME_EVERYWHERE = re.compile(
    r"proxysite|ms|USD|HTTP|JSONL?|Markdown|curl|Python|Node|CSV|Ctrl|top_p|none|minimal|low|medium"
    r"|high|req|chatcmpl|resp|sk-ps|rate_limit_exceeded|groq|colM|login|playground-page|K"
    r"|method|get|req_|chatcmpl-|resp_|sk-ps-|GET|POST|PATCH|DELETE|PUT|OpenAPI|JavaScript"
    r"|URL|API|seed|max_tokens|temperature|xhigh|auto|required|js"
)
READ_ATTRIBUTES = ("title", "placeholder", "alt", "aria-label")
MARKED_KEYWORDS = ("description", "label", "help_text", "verbose_name", "verbose_name_plural")
MARKED_ATTRIBUTES = ("title", "search_help_text", "verbose_name_plural")
ADMIN_FOLDERS = (
    "api/admin",
    "api/portal",
    "conversations/admin",
    "providers/admin",
    "proxysite/audit",
    "proxysite/desk",
    "proxysite/people",
    "tokens/admin",
)


@pytest.fixture(scope="module")
def catalogue():
    return polib.pofile(str(FOLDER / LANGUAGE / CATALOGUE))


def test_every_text_of_the_catalogue_is_translated(catalogue):
    assert [entry.msgid for entry in catalogue if not entry.translated()] == []


def test_translations_have_the_placeholders_of_their_texts(catalogue):
    odd = []
    for entry in catalogue:
        text = entry.msgid_plural or entry.msgid
        wanted = set(PLACEHOLDER.findall(text))
        odd += [
            (text, translated)
            for translated in entry.msgstr_plural.values() or [entry.msgstr]
            if set(PLACEHOLDER.findall(translated)) != wanted
        ]
    assert odd == []


def test_the_compiled_catalogue_is_that_of_the_written_one(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "locale")
    compile_catalogue(tmp_path / "locale")
    compiled = (tmp_path / "locale" / LANGUAGE / CATALOGUE).with_suffix(".mo")
    present = (FOLDER / LANGUAGE / CATALOGUE).with_suffix(".mo")
    assert present.read_bytes() == compiled.read_bytes(), "run make messages, and commit it"


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext is not installed")
def test_the_catalogue_has_every_text_that_is_marked(catalogue, tmp_path):
    write_catalogue(tmp_path)
    found = {entry.msgid for entry in polib.pofile(str(tmp_path / LANGUAGE / CATALOGUE))}
    assert found == {entry.msgid for entry in catalogue}, "run make messages, and translate"


class ReadableText(HTMLParser):
    """Collects the texts of a template that a person reads."""

    def __init__(self):
        super().__init__()
        self.texts = []
        self._ignored = 0

    def handle_starttag(self, tag, attrs):
        self._ignored += tag in ("script", "style", "svg", "code", "pre", "kbd")
        texts = [value for name, value in attrs if name in READ_ATTRIBUTES and value]
        self.texts += [text for text in texts if not text.startswith(("{", "["))]  # JSON

    def handle_endtag(self, tag):
        self._ignored -= tag in ("script", "style", "svg", "code", "pre", "kbd")

    def handle_data(self, data):
        if not self._ignored:
            self.texts.append(data)


def find_unmarked_words(path):
    reader = ReadableText()
    reader.feed(TEMPLATE_CODE.sub(" ", path.read_text(encoding="utf-8")))
    words = re.findall(r"[A-Za-z][A-Za-z_-]+", " ".join(reader.texts))
    return [word for word in words if not SAME_EVERYWHERE.fullmatch(word)]


def test_templates_have_no_text_that_is_not_marked():
    unmarked = {
        str(path.relative_to(ROOT)): words
        for path in sorted((ROOT / "templates").rglob("*.html"))
        if (words := find_unmarked_words(path))
    }
    assert unmarked == {}


def find_plain_texts(tree):
    """Yield texts for people that stand in the code without a translation call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in MARKED_KEYWORDS:
            value = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value if node.targets[0].id in MARKED_ATTRIBUTES else None
        else:
            continue
        if isinstance(value, ast.Constant) and re.search("[A-Za-z]{2}", str(value.value)):
            yield value.value


def has_models(path):
    """Return whether a module has models, whose texts are translated as a whole."""
    return "models.Model)" in path.read_text(encoding="utf-8")


def test_columns_filters_and_fields_of_the_admin_are_marked():
    plain = {
        f"{path.relative_to(ROOT)}: {text}"
        for folder in ADMIN_FOLDERS
        for path in Path(ROOT, folder).rglob("*.py")
        if "tests" not in path.parts and not has_models(path)
        for text in find_plain_texts(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert plain == set()


def test_models_are_named_in_the_language_of_the_page():
    from api.models import ApiKey, UsageRecord

    with translation.override("zh-hans"):
        assert str(ApiKey._meta.verbose_name_plural) == "API 密钥"
        status = UsageRecord(status="complete").get_status_display()
    assert re.search("[\u4e00-\u9fff]", status)
    assert UsageRecord(status="complete").get_status_display() == "complete"
