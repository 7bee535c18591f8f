"""Prompts whose less dense passages are summarised by a model."""

import pytest

from conversations.prompts.text_shortener import FitHelpers
from conversations.tests.prompts.prompt_bodies import (
    ASKED,
    WINDOW,
    body,
    prompt,
    shorten_prompt,
    system,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


class Summariser:
    """Says the same of each text, and remembers how many it was given; of those after `most` it
    says nothing.
    """

    model = "m"

    def __init__(self, most=63):
        self.calls_left, self.asked = most, []

    async def __call__(self, texts):
        self.asked.append(len(texts))
        said, self.calls_left = (
            min(self.calls_left, len(texts)),
            max(0, self.calls_left - len(texts)),
        )
        return ["In short."] * said + [None] * (len(texts) - said)


async def test_summaries_are_made_once(alice):
    summarise, options = Summariser(), {"summarise": True}
    first = await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, options, FitHelpers(summarise=summarise)
    )
    said = first.body["messages"][0]["content"]
    assert "In short." in said
    assert said.startswith("You are the archivist.")
    assert "Note 500: " in said
    assert prompt(first.body) <= 0.8 * WINDOW
    assert len(summarise.asked) >= 1
    assert len(first.document_ids) == 2
    again = Summariser()
    second = await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, options, FitHelpers(summarise=again)
    )
    assert (second.body, second.document_ids, again.asked) == (first.body, first.document_ids, [])
    plain = await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, {}, FitHelpers(summarise=again)
    )
    assert "In short." not in plain.body["messages"][0]["content"]


@pytest.mark.parametrize(
    "other", [{"model": "another"}, {"options": {"processor": {"entropy_threshold": 0.9}}}]
)
async def test_another_model_or_threshold_makes_summaries_of_its_own(alice, other):
    options = {"summarise": True}
    await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, options, FitHelpers(summarise=Summariser())
    )
    summarise = Summariser()
    summarise.model = other.get("model", "m")
    options |= other.get("options", {})
    await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, options, FitHelpers(summarise=summarise)
    )
    assert summarise.asked


async def test_what_is_summarised_in_part_is_used_and_not_kept(alice):
    class Tired(Summariser):
        async def __call__(self, texts):
            self.asked.append(len(texts))
            self.calls_left = 0
            return ["In short.", *[None] * (len(texts) - 1)]

    for _ in range(2):
        tired = Tired()
        means = FitHelpers(summarise=tired)
        fitted = await shorten_prompt(
            body(system(), ASKED), alice.user.pk, WINDOW, {"summarise": True}, means
        )
        said = fitted.body["messages"][0]["content"]
        assert (said.count("In short."), len(tired.asked), len(fitted.document_ids)) == (1, 1, 1)
        assert prompt(fitted.body) <= 0.8 * WINDOW
    whole = Summariser()
    fitted = await shorten_prompt(
        body(system(), ASKED),
        alice.user.pk,
        WINDOW,
        {"summarise": True},
        FitHelpers(summarise=whole),
    )
    assert whole.asked
    assert len(fitted.document_ids) == 2


async def test_without_questions_left_there_is_an_excerpt_as_ever(alice):
    means = FitHelpers(summarise=Summariser(0))
    fitted = await shorten_prompt(
        body(system(), ASKED), alice.user.pk, WINDOW, {"summarise": True}, means
    )
    assert fitted == await shorten_prompt(body(system(), ASKED), alice.user.pk, WINDOW, {})
    assert means.summarise.asked == []
