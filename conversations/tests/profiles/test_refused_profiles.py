"""Configuration files that are wrong: refused in one line without secrets, and not written."""

from typing import Any

import pytest

from conversations.tests.profiles.profile_files import KEY, KIMI, O1, count_rows
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "neither a config.json"),
        ("{", "not valid JSON"),
        ("default_model: x\n  deeper: y", "Line 2"),
        ("just words", "Line 1"),
        ('default_model: "open', "Line 1"),
        (O1.replace(KEY, "your-api-key-here"), "model_provider_api_key is a placeholder"),
        (O1.replace(KEY, "short"), "model_provider_api_key is shorter"),
        (O1.replace(KEY, ""), "model_provider_api_key is missing"),
        (O1.replace("default_model: gpt-4o-mini", ""), "no model"),
        (O1.replace("https://api.openai.com", "ftp://api.openai.com"), "base_url"),
        (O1.replace("use_regex_processing: true", "use_regex_processing: 3"), "true or false"),
        (KIMI | {"mpr_candidates": 99}, "candidates"),
        (KIMI | {"mpr_candidates": "4"}, "candidates"),
        (KIMI | {"llm": []}, "no address"),
        (KIMI | {"llm": "gpt"}, "llm must be an object"),
        (KIMI | {"llm": {"type": "cloud"}}, "llm.type"),
        (KIMI | {"llm": {"type": "local"}}, "--base"),
        (KIMI | {"llm": {"type": "api", "api_key": 5}}, "api_key must be a text"),
        (KIMI | {"processor": {"batch_size": "512"}}, "processor.batch_size"),
        (KIMI | {"processor": {"entropy_method": "magic"}}, "entropy_method"),
        ([], "Line 1"),
    ],
)
def test_what_is_weak_or_missing_is_refused_in_one_line_and_nothing_is_written(file, content, says):
    if content == KIMI | {"llm": []}:
        content = KIMI | {"llm": {"type": "api", "api_key": KEY}}
    said = refused("import_profile", file(content))
    assert says in said
    assert KEY not in said
    assert count_rows() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("# a\n\ndefault_model: x\n- y", "Line 4, column 1 is not valid YAML"),
        ('a: b\ndefault_model: "open\nb: c', "Line 2, column 16 is not valid YAML"),
        ("a: b\ndefault_model: \x07", "Line 2 has a character"),
        ("# a\n- b", "Line 2 is not of the form"),
        (f"model_provider_api_key: *{KEY}", "Line 1, column 25 is not valid YAML"),
        (f"model_provider_api_key: !{KEY} x", "Line 1, column 25 is not valid YAML"),
        ("default_model: 2024-99-99", "a value that YAML cannot read"),
        ("default_model: " + "1" * 5_000, "a value that YAML cannot read"),
        ("default_model: 4", "default_model must be a text"),
        ("default_model: " + "[" * 60_000, "a value that YAML cannot read"),
        ("a: &a [*a]\n? *a\n: b", "is not valid YAML"),
        ("a: b\n--- \na: c", "is not valid YAML"),
        ("#" * 65_537, "longer than 65536 characters"),
        ("#" * 10**7, "longer than 65536 characters"),
    ],
)
def test_where_a_file_is_wrong_is_said_and_no_secret(file, content, says):
    said = refused("import_profile", file(content))
    assert says in said
    assert KEY not in said
    assert count_rows() == [0, 0, 0, 0]


def test_a_file_that_is_not_there_and_keys_nobody_knows(file, tmp_path):
    assert "Cannot read" in refused("import_profile", str(tmp_path / "none"))
    assert "colour: not known, left out." in run("import_profile", file(O1 + "colour: red\n"))


def replace_fields(section: str, **values: Any) -> dict[str, Any]:
    return KIMI | {section: KIMI[section] | values}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (replace_fields("llm", api_url="http://[abc/v1"), "address"),
        (replace_fields("llm", api_url="https://h.org:99999/v1"), "port"),
        (replace_fields("llm", api_url="https://h.org/\n/v1"), "address"),
        (replace_fields("llm", model_name="a\0b"), "name"),
        (replace_fields("llm", model_name="a\ud800b"), "name"),
        (replace_fields("llm", model_name="a\x1b[31mb"), "name"),
        (replace_fields("llm", model_name="m" * 300), "200 characters"),
        (replace_fields("llm", model_name="m" * 195), "200 characters"),
        (replace_fields("llm", api_key=KEY + "\0"), "key"),
        (
            replace_fields("processor", entropy_threshold=float("nan")),
            "processor.entropy_threshold",
        ),
        (
            replace_fields("processor", entropy_threshold=float("inf")),
            "processor.entropy_threshold",
        ),
        (replace_fields("processor", entropy_threshold=-5), "processor.entropy_threshold"),
        (replace_fields("processor", batch_size=-1), "processor.batch_size"),
        (replace_fields("processor", overlap_size=10**30), "processor.overlap_size"),
        (replace_fields("rag", top_k=10**30), "rag.top_k"),
        (replace_fields("rag", top_k=-1), "rag.top_k"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line_and_nothing_is_written(file, config, said):
    message = refused("import_profile", file(config))
    assert said in message
    assert message.isprintable()
    assert KEY not in message
    assert count_rows() == [0, 0, 0, 0]


def test_a_name_that_cannot_be_printed_is_refused_as_an_option_too(file):
    for option in ("--name", "--base"):
        assert "cannot be printed" in refused("import_profile", file(KIMI), option, "a\udcffb")
    assert count_rows() == [0, 0, 0, 0]


def test_notes_never_steer_the_terminal(file):
    said = run("import_profile", file(KIMI | {"x\x1b[31m\n": 1, "rag": {"\x9b2J": 1}}))
    assert "x\\x1b[31m\\n: not known" in said
    assert all(line.isprintable() for line in said.splitlines())
