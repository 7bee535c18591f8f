"""What a request is estimated to need, and what earlier requests teach."""

from hypothesis import given
from hypothesis import strategies as st

from api.limits.request_demands import KNOWN_ANSWERS, AnswerLengths


def learn(*prompts: tuple[int, int]) -> AnswerLengths:
    """Return the lengths of a model after prompts of so many tokens with such estimates."""
    lengths = AnswerLengths()
    for _ in range(KNOWN_ANSWERS):
        for tokens, estimated in prompts:
            lengths.add_prompt(tokens, estimated)
    return lengths


def test_before_prompts_have_ended_they_are_taken_for_twice_as_long() -> None:
    assert AnswerLengths().bound_prompt(100) == 200


def test_prompts_that_are_shorter_than_estimated_reserve_their_estimate() -> None:
    assert learn((60, 100)).bound_prompt(1_000) == 1_000


def test_texts_of_many_tokens_are_learned_and_forgotten() -> None:
    lengths = learn((180, 100))
    assert 1_700 < lengths.bound_prompt(1_000) <= 1_800
    for _ in range(100):
        lengths.add_prompt(100, 100)
    assert lengths.bound_prompt(1_000) == 1_000


def test_tokens_that_an_upstream_adds_are_no_share_of_a_long_prompt() -> None:
    """A hidden system prompt of 500 tokens is longer than a greeting, and not than a book."""
    lengths = learn((530, 30))
    assert 500 <= lengths.bound_prompt(30) <= 540
    assert lengths.bound_prompt(100_000) <= 300_500


@given(prompts=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 5_000)), max_size=30))
def test_the_bound_covers_the_latest_prompt(prompts: list[tuple[int, int]]) -> None:
    lengths = AnswerLengths()
    for tokens, estimated in prompts:
        lengths.add_prompt(tokens, estimated)
        if lengths.prompt_count >= KNOWN_ANSWERS and estimated:
            assert lengths.bound_prompt(estimated) >= tokens - 1
