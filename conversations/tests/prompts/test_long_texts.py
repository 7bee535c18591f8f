import pytest

from conversations.prompts.long_texts import extract_question
from conversations.tests.prompts.prompt_bodies import ASKED


@pytest.mark.parametrize(
    "last", ["please", [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], "", "And?"]
)
def test_a_question_of_few_words_is_understood_by_what_was_asked_before(last):
    answer = {"role": "assistant", "content": "No."}
    found = extract_question([ASKED, answer, {"role": "user", "content": last}])
    assert found.startswith(ASKED["content"])
    whole = "When was the market of Oldham built?"
    assert extract_question([ASKED, answer, {"role": "user", "content": whole}]) == whole
