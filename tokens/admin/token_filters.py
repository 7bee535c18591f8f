"""The filters of the list of tokens; their meaning is in `tokens/token_filter.py`."""

from collections.abc import Mapping

from django.contrib import admin
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from providers.admin.page_sections import Text
from tokens.admin.token_state import name_state
from tokens.models import Kind, UpstreamToken
from tokens.querysets import TokenQuerySet
from tokens.token_filter import FILTER_OF_STATE, FILTERS, UnknownFilter, apply_filters

Words = Mapping[str, Text]
PAGE_NAMES = frozenset((ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, "_changelist_filters"))

NAME_BY_REASON: Words = {
    "auth": gettext_lazy("rejected (auth)"),
    "rate-limit": gettext_lazy("rate limit"),
    "quota": gettext_lazy("quota"),
    "network": gettext_lazy("network or upstream failure"),
    "unreadable": gettext_lazy("secret cannot be opened"),
    "person": gettext_lazy("by a person"),
    "other": gettext_lazy("other"),
}
NAME_BY_AGE: Words = {
    "hour": gettext_lazy("in the last hour"),
    "day": gettext_lazy("in the last day"),
    "week": gettext_lazy("in the last week"),
    "older": gettext_lazy("over a week ago"),
}
NAME_BY_CHECK: Words = {
    "never": gettext_lazy("never"),
    "hour": gettext_lazy("in the last hour"),
    "day": gettext_lazy("in the last day"),
    "older": gettext_lazy("over a day ago"),
    "works": gettext_lazy("works"),
    "failed": gettext_lazy("does not work"),
}


class WordFilter(admin.SimpleListFilter):
    """A filter whose values are words of `tokens/token_filter.py`."""

    words: Words = {}

    def lookups(
        self, request: HttpRequest, model_admin: "admin.ModelAdmin[UpstreamToken]"
    ) -> list[tuple[str, str]]:
        return [(word, str(name)) for word, name in self.words.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> QuerySet[UpstreamToken]:
        """Return the tokens that the word lets through; an unknown word lets all through."""
        word = self.value()
        if not word or not isinstance(queryset, TokenQuerySet):
            return queryset
        try:
            return apply_filters(queryset, {str(self.parameter_name): word})
        except UnknownFilter:
            return queryset


class StateFilter(WordFilter):
    title = gettext_lazy("state")
    parameter_name = "is"

    def lookups(
        self, request: HttpRequest, model_admin: "admin.ModelAdmin[UpstreamToken]"
    ) -> list[tuple[str, str]]:
        return [(name, name_state(name)) for name in FILTER_OF_STATE]


class ReasonFilter(WordFilter):
    title = gettext_lazy("reason")
    parameter_name = "reason"
    words = NAME_BY_REASON


class AgeFilter(WordFilter):
    title = gettext_lazy("imported")
    parameter_name = "age"
    words = NAME_BY_AGE


class CheckFilter(WordFilter):
    title = gettext_lazy("last check")
    parameter_name = "check"
    words = NAME_BY_CHECK


class KindFilter(WordFilter):
    title = gettext_lazy("kind")
    parameter_name = "kind"
    words = {str(value): str(label) for value, label in Kind.choices}


def read_query(request: HttpRequest) -> dict[str, str]:
    """Return the filters in the address of the list, without its page and order.

    Raises UnknownFilter for a filter that actions cannot repeat later.
    """
    query = {
        name: str(word) for name, word in request.GET.items() if name not in PAGE_NAMES and word
    }
    if unknown := query.keys() - FILTERS.keys():
        raise UnknownFilter(", ".join(sorted(unknown)))
    return query


def describe_query(query: Mapping[str, str]) -> str:
    """Return the filters in words, for the title and the history of an action."""
    return " ".join(f"{name.partition('__')[0]}={word}" for name, word in sorted(query.items()))
