"""Charts are SVG that needs no script and no style of its own."""

from xml.etree import ElementTree as ET

import pytest

from providers.admin.charts import (
    Series,
    find_axis_end,
    format_count,
    render_bar_chart,
    render_line_chart,
)

LABELS = ["Mon", "Tue", "Wed"]


def parse_chart(html):
    return ET.fromstring(f"<figure>{html}</figure>")


def find_titles(html, tag):
    return [shape.findtext("title") for shape in parse_chart(html).iter(tag)]


def test_a_bar_has_a_part_for_each_series_above_the_one_before():
    html = render_bar_chart(
        LABELS, [Series("complete", [3, 0, 5]), Series("failed", [1, 2, None], 2)], title="Requests"
    )
    assert find_titles(html, "rect") == [
        "Mon: 3 complete",
        "Mon: 1 failed",
        "Tue: 2 failed",
        "Wed: 5 complete",
    ]
    first, second = list(parse_chart(html).iter("rect"))[:2]
    top_of_first = float(first.get("y"))
    assert float(second.get("y")) + float(second.get("height")) == pytest.approx(top_of_first, 0.01)
    assert "style=" not in html
    assert "<script" not in html


def test_a_line_is_interrupted_where_there_is_no_value():
    html = render_line_chart(["a", "b", "c", "d"], [Series("p50", [1, 2, None, 4])], title="Time")
    assert len(list(parse_chart(html).iter("polyline"))) == 1
    assert find_titles(html, "circle") == ["a: 1 p50", "b: 2 p50", "d: 4 p50"]


def test_names_are_text():
    html = render_bar_chart(["<b>"], [Series("<i>", [1])], title='"><script>')
    assert "<script>" not in html
    assert find_titles(html, "rect") == ["<b>: 1 <i>"]


@pytest.mark.parametrize("labels", [[], ["a"]])
def test_a_chart_of_nothing_is_empty_axes(labels):
    html = render_bar_chart(labels, [Series("x", [0] * len(labels))], title="Nothing")
    assert not list(parse_chart(html).iter("rect"))


@pytest.mark.parametrize(
    ("value", "end"),
    [(0, 3), (1, 3), (0.02, 0.024), (7, 9), (9.5, 12), (10, 12), (15, 15), (950, 1200), (61, 75)],
)
def test_an_axis_ends_at_a_round_number(value, end):
    assert find_axis_end(value) == pytest.approx(end)


def test_numbers_beside_the_axis_are_short():
    assert [format_count(value) for value in (0, 950, 1_234, 3_400_000)] == [
        "0",
        "950",
        "1.23k",
        "3.4M",
    ]
