"""Configuration files of the two programs as rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from conversations.profiles import profile_reader
from providers.models import ChatModel, Provider, VirtualModel
from providers.tests.command_runner import refused, run
from proxysite.testing import rows
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
KEY = "sk-made-up-0123456789abcdef"
O1 = f"""# configuration
api_bearer_token: 'of the callers'
model_provider_api_key: {KEY}   # secret
default_api_url: "https://api.openai.com/v1/chat/completions"
default_model: gpt-4o-mini
stream_status_feedback: false
use_regex_processing: true
"""
KIMI: dict[str, Any] = {
    "llm": {
        "type": "api",
        "api_key": KEY,
        "api_url": "https://api.moonshot.ai/v1",
        "model_name": "kimi-k2",
    },
    "processor": {"batch_size": 256, "entropy_threshold": 3, "entropy_method": "weighted"},
    "rag": {
        "top_k": 5,
        "similarity_threshold": 0.7,
        "use_faiss": True,
        "embedding_model": "all-MiniLM-L6-v2",
    },
    "mpr_candidates": 4,
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(content: Any) -> str:
        path = tmp_path / "config"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def counts() -> list[int]:
    return [model.objects.count() for model in (Provider, ChatModel, VirtualModel, UpstreamToken)]


def test_a_file_of_o1_api_becomes_a_model_that_thinks_in_steps(file):
    said = run("import_profile", file(O1))
    virtual = VirtualModel.objects.get()
    assert (virtual.public_id, virtual.base, virtual.strategy) == (
        "o1-gpt-4o-mini",
        "gpt-4o-mini",
        "stepwise",
    )
    assert virtual.options == {"feedback": False, "format": "markdown"}
    provider = Provider.objects.get()
    assert (provider.name, provider.base_url) == (
        "api.openai.com",
        "https://api.openai.com/v1",
    )
    assert UpstreamToken.objects.get().masked in said
    assert KEY not in said
    assert "of the callers" not in said
    assert "issue_key" in said


def test_html_where_the_file_wanted_it(file):
    run(
        "import_profile",
        file(O1.replace("use_regex_processing: true", "use_regex_processing: false")),
    )
    assert VirtualModel.objects.get().options["format"] == "details"


def test_a_file_of_openkimi_becomes_a_model_of_several_paths(file):
    said = run("import_profile", file(KIMI))
    virtual = VirtualModel.objects.get()
    assert (virtual.public_id, virtual.base, virtual.strategy) == (
        "openkimi-kimi-k2",
        "kimi-k2",
        "multipath",
    )
    assert virtual.options == {
        "candidates": 4,
        "framework": True,
        "processor": KIMI["processor"] | {"entropy_threshold": 0.5},
        "rag": {"top_k": 5},
    }
    assert "rag.use_faiss: has no meaning here" in said
    assert "rag.similarity_threshold: has no meaning here" in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("theirs", "ours"), [(2.8, 0.5), (3, 0.5), (1.01, 0.5), (1, 1), (0.7, 0.7), (0, 0)]
)
def test_a_threshold_in_bits_becomes_the_middle_of_our_scale(file, theirs, ours):
    said = run("import_profile", file(KIMI | {"processor": {"entropy_threshold": theirs}}))
    assert VirtualModel.objects.get().options["processor"] == {"entropy_threshold": ours}
    assert ("processor.entropy_threshold" in said) is (theirs != ours)


def test_the_length_of_the_context_is_the_models_window(file):
    run("import_profile", file(KIMI))
    assert ChatModel.objects.get().context_window is None
    said = run("import_profile", file(KIMI | {"llm": KIMI["llm"] | {"context_length": 8192}}))
    assert "Model kimi-k2: window of 8192 tokens." in said
    assert ChatModel.objects.get().context_window == 8192
    said = run("import_profile", file(KIMI | {"llm": KIMI["llm"] | {"context_length": 4096}}))
    assert "window" not in said
    assert ChatModel.objects.get().context_window == 8192  # what a person knows better stays
    for wrong in ("long", 0, -1, True, 2**31):
        assert "llm.context_length" in refused(
            "import_profile", file(KIMI | {"llm": KIMI["llm"] | {"context_length": wrong}})
        )


def test_the_older_name_of_the_candidates_counts_where_the_newer_is_absent(file):
    old = {name: value for name, value in KIMI.items() if name != "mpr_candidates"}
    run("import_profile", file(old | {"mcp_candidates": 2}))
    assert VirtualModel.objects.get().options["candidates"] == 2
    run("import_profile", file(old))
    assert VirtualModel.objects.get().options["candidates"] == 1


def test_importing_twice_adds_nothing_and_takes_what_changed(file):
    run("import_profile", file(KIMI))
    before = counts()
    said = run("import_profile", file(KIMI | {"mpr_candidates": 6}))
    assert counts() == before == [1, 1, 1, 1]
    assert "changed" in said
    assert VirtualModel.objects.get().options["candidates"] == 6


def test_a_dry_run_says_the_same_and_writes_nothing(file):
    said = run("import_profile", file(O1), "--dry-run")
    assert "o1-gpt-4o-mini" in said
    assert "Nothing was written" in said
    assert counts() == [0, 0, 0, 0]


def test_an_existing_model_may_be_stood_upon(file):
    rows.create_model(rows.create_provider("https://api.example.org/v1", models=()), "m")
    run(
        "import_profile",
        file(KIMI | {"llm": {"type": "local", "model_path": "/x"}}),
        "--base",
        "m",
        "--name",
        "deep",
    )
    virtual = VirtualModel.objects.get()
    assert (virtual.public_id, virtual.base) == ("deep", "m")
    assert UpstreamToken.objects.count() == 0
    assert "There is no model 'nothing'" in refused(
        "import_profile", file(KIMI), "--base", "nothing"
    )


def test_the_dummy_model_is_the_offline_echo(file):
    run("import_profile", file({"llm": {"type": "dummy"}}))
    assert VirtualModel.objects.get().public_id == "openkimi-echo"
    assert Provider.objects.get().kind == "echo"


def test_key_and_address_may_come_from_the_environment_as_they_did(file, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_BASE", "https://api.openai.com/v1")
    run("import_profile", file({"llm": {"type": "api"}}))
    assert VirtualModel.objects.get().public_id == "openkimi-gpt-3.5-turbo"
    assert UpstreamToken.objects.count() == 1


def test_a_private_address_is_taken_only_when_that_is_said(file):
    local = KIMI | {
        "llm": {"type": "api", "api_url": "http://127.0.0.1:11434/v1", "model_name": "qwen3"}
    }
    assert "allow private" in refused("import_profile", file(local))
    run("import_profile", file(local), "--allow-private")
    assert not Provider.objects.get().needs_token


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
    assert counts() == [0, 0, 0, 0]


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
    assert counts() == [0, 0, 0, 0]


def test_yaml_that_a_person_may_write_is_read():
    text = "default_model: 'it''s'  # a\nuse_regex_processing: No\napi_bearer_token: >\n  a\n  b\n"
    profile = profile_reader.read_profile(text, {})
    assert (profile.model, profile.options["format"]) == ("it's", "details")


def test_a_file_that_is_not_there_and_keys_nobody_knows(file, tmp_path):
    assert "Cannot read" in refused("import_profile", str(tmp_path / "none"))
    assert "colour: not known, left out." in run("import_profile", file(O1 + "colour: red\n"))


def test_a_virtual_model_is_no_base(file):
    rows.create_model(rows.create_provider("https://api.example.org/v1", models=()), "m")
    rows.create_virtual_model("deep", "m", "stepwise")
    assert "There is no model 'deep'" in refused("import_profile", file(KIMI), "--base", "deep")


def test_a_profile_does_not_show_its_secret():
    assert KEY not in repr(profile_reader.read_profile(O1, {}))


def changed(section: str, **values: Any) -> dict[str, Any]:
    return KIMI | {section: KIMI[section] | values}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed("llm", api_url="http://[abc/v1"), "address"),
        (changed("llm", api_url="https://h.org:99999/v1"), "port"),
        (changed("llm", api_url="https://h.org/\n/v1"), "address"),
        (changed("llm", model_name="a\0b"), "name"),
        (changed("llm", model_name="a\ud800b"), "name"),
        (changed("llm", model_name="a\x1b[31mb"), "name"),
        (changed("llm", model_name="m" * 300), "200 characters"),
        (changed("llm", model_name="m" * 195), "200 characters"),
        (changed("llm", api_key=KEY + "\0"), "key"),
        (changed("processor", entropy_threshold=float("nan")), "processor.entropy_threshold"),
        (changed("processor", entropy_threshold=float("inf")), "processor.entropy_threshold"),
        (changed("processor", entropy_threshold=-5), "processor.entropy_threshold"),
        (changed("processor", batch_size=-1), "processor.batch_size"),
        (changed("processor", overlap_size=10**30), "processor.overlap_size"),
        (changed("rag", top_k=10**30), "rag.top_k"),
        (changed("rag", top_k=-1), "rag.top_k"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line_and_nothing_is_written(file, config, said):
    message = refused("import_profile", file(config))
    assert said in message
    assert message.isprintable()
    assert KEY not in message
    assert counts() == [0, 0, 0, 0]


def test_a_name_that_cannot_be_printed_is_refused_as_an_option_too(file):
    for option in ("--name", "--base"):
        assert "cannot be printed" in refused("import_profile", file(KIMI), option, "a\udcffb")
    assert counts() == [0, 0, 0, 0]


def test_notes_never_steer_the_terminal(file):
    said = run("import_profile", file(KIMI | {"x\x1b[31m\n": 1, "rag": {"\x9b2J": 1}}))
    assert "x\\x1b[31m\\n: not known" in said
    assert all(line.isprintable() for line in said.splitlines())
