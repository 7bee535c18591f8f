"""Thinking between tags, in answers of models whose row or dialect puts it into the text (A22)."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing.upstream import answer_honestly

TEXTS = [
    "<think>Hm.</think >Yes.",
    "<thinking>Hm.</thinking>Yes.",
    "<thought>Hm.</thought>\nYes.",
    "<reasoning>Hm.</reasoning>Yes.",
    "◁think▷Hm.◁/think▷Yes.",
    "[THINK]Hm.[/THINK]Yes.",
    "<|begin_of_thought|>Hm.<|end_of_thought|><|begin_of_solution|>Yes.<|end_of_solution|>",
    "<|channel|>analysis<|message|>Hm.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
]


async def change_rows(gateway, *, row_format="separate", **changes):
    def change():
        ChatModel.objects.update(thinking_format=row_format)
        Provider.objects.update(dialect_changes=changes)

    await run_in_thread(change)
    await gateway.reload_rows()


async def read_both_forms(gateway, upstream, alice, text):
    """Return thinking and answer of a text, whole and streamed in pieces of three characters."""
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    upstream.queue_scripts(answer_honestly(text), answer_honestly(*pieces))
    whole = await gateway.request_chat(alice.key)
    streamed = await gateway.request_chat(alice.key, stream=True)
    deltas = [choice["delta"] for event in streamed.events for choice in event["choices"]]
    return [
        (whole.json["choices"][0]["message"].get("reasoning_content") or "", whole.text),
        ("".join(delta.get("reasoning_content") or "" for delta in deltas), streamed.text),
    ]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("row_format", ["tagged", "implied"])
async def test_every_family_is_known_by_default(gateway, upstream, alice, text, row_format):
    await change_rows(gateway, row_format=row_format)
    assert await read_both_forms(gateway, upstream, alice, text) == [("Hm.", "Yes.")] * 2


async def test_the_dialect_may_name_one_family(gateway, upstream, alice):
    await change_rows(gateway, thinking_format="implied", thinking_tags="mistral")
    forms = await read_both_forms(gateway, upstream, alice, "Hm.[/THINK]Yes.")
    assert forms == [("Hm.", "Yes.")] * 2
    other = "<thinking>Hm.</thinking>Yes."
    assert await read_both_forms(gateway, upstream, alice, other) == [("", other)] * 2


async def test_a_model_that_thinks_in_a_field_keeps_its_text(gateway, upstream, alice):
    await change_rows(gateway)
    for text in TEXTS[:4]:
        assert await read_both_forms(gateway, upstream, alice, text) == [("", text)] * 2
