import msgspec
import pytest

from conversations.strategies.stepwise.step_prompts import StepwiseOptions


def test_the_instruction_names_the_least_number_of_steps_or_is_ones_own():
    assert "at least 5 steps" in StepwiseOptions(min_steps=5).render_system_prompt()
    own = StepwiseOptions(prompt="Think like {Euler}.").render_system_prompt()
    assert own.startswith("Think like {Euler}.")
    assert "next_action" in own


@pytest.mark.parametrize(
    "wrong", [{"max_steps": 0}, {"step_tokens": "1"}, {"format": "pdf"}, {"max_calls": 1000}]
)
def test_options_are_bounded(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, StepwiseOptions)
