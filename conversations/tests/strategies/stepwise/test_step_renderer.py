import pytest

from conversations.strategies.stepwise.step_parser import Step
from conversations.strategies.stepwise.step_renderer import HIDDEN, render_step

STEP = Step("Look", "6 × 7 is asked.")


@pytest.mark.parametrize("form", ["reasoning", "markdown", "details", "inline"])
def test_every_form_shows_the_title_and_the_content(form):
    text = render_step(STEP, 3, form)
    assert "Step 3: Look" in text
    assert "6 × 7 is asked." in text


def test_html_of_a_model_stays_text_and_lines_stay_lines():
    text = render_step(Step("<b>", "a < b\n</details>"), 1, "details")
    assert text == (
        "<details open><summary>Step 1: &lt;b&gt;</summary>a &lt; "
        "b<br>&lt;/details&gt;</details>\n\n"
    )
    assert render_step(STEP, 1, HIDDEN) == ""
