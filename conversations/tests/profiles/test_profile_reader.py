"""Configuration files of the two programs as rows."""

import pytest

from conversations.profiles import profile_reader
from conversations.tests.profiles.profile_files import KEY, KIMI, O1, count_rows
from providers.models import ChatModel, Provider, VirtualModel
from providers.tests.command_runner import refused, run
from proxysite.testing import rows
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db


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
    before = count_rows()
    said = run("import_profile", file(KIMI | {"mpr_candidates": 6}))
    assert count_rows() == before == [1, 1, 1, 1]
    assert "changed" in said
    assert VirtualModel.objects.get().options["candidates"] == 6


def test_a_dry_run_says_the_same_and_writes_nothing(file):
    said = run("import_profile", file(O1), "--dry-run")
    assert "o1-gpt-4o-mini" in said
    assert "Nothing was written" in said
    assert count_rows() == [0, 0, 0, 0]


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


def test_yaml_that_a_person_may_write_is_read():
    text = "default_model: 'it''s'  # a\nuse_regex_processing: No\napi_bearer_token: >\n  a\n  b\n"
    profile = profile_reader.read_profile(text, {})
    assert (profile.model, profile.options["format"]) == ("it's", "details")


def test_a_virtual_model_is_no_base(file):
    rows.create_model(rows.create_provider("https://api.example.org/v1", models=()), "m")
    rows.create_virtual_model("deep", "m", "stepwise")
    assert "There is no model 'deep'" in refused("import_profile", file(KIMI), "--base", "deep")


def test_a_profile_does_not_show_its_secret():
    assert KEY not in repr(profile_reader.read_profile(O1, {}))
