"""The part of a list that a query string asks for."""

import pytest

from api import pagination
from providers.exceptions import InvalidRequest


@pytest.mark.parametrize("given", ["0", "101", "-1", "", "ten", "٣", None])
def test_a_number_outside_its_range_is_refused_by_its_name(given: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pagination.read_integer(given, "limit", 1, 100)
    assert caught.value.message == "limit must be a whole number from 1 to 100."
    assert caught.value.param == "limit"


def test_where_a_query_string_says_nothing_the_defaults_count() -> None:
    assert pagination.parse_page_query({}) == pagination.PageQuery("", 20, descending=True)
    assert pagination.parse_page_query({}, limit=5, order="asc") == pagination.PageQuery(
        "", 5, descending=False
    )
    asked = {"limit": "7", "order": "asc", "after": "a"}
    assert pagination.parse_page_query(asked) == pagination.PageQuery("a", 7, descending=False)


def test_a_page_of_a_list_that_goes_on_says_so() -> None:
    rows = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    page = pagination.render_page(rows, pagination.PageQuery("", 2, descending=True))
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("a", "b", True)
    assert not pagination.render_page([], pagination.PageQuery("", 2, descending=True))["has_more"]
