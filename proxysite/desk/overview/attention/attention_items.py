"""The form of everything that needs attention."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.safestring import SafeString

from providers.admin.page_times import render_time

BAD = "bad"  # requests fail, or soon will
WAIT = "wait"  # somebody should look at it
MOST_ALIKE = 2  # items of one kind that are shown at once


@dataclass(frozen=True, slots=True)
class Button:
    """A link, or a form of one button that sends `fields` to a page that acts."""

    label: str
    address: str
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        return bool(self.fields)


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """One thing to look at: how bad it is, a sentence, a detail, a time with a label, and buttons.

    Items of one `kind` differ in the provider or model that they are about.
    """

    kind: str
    tone: str
    text: str
    detail: str = ""
    at: datetime | None = None
    at_label: str = ""
    buttons: tuple[Button, ...] = ()

    @property
    def shown_at(self) -> SafeString | str:
        return render_time(self.at, is_relative=True)


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """The items of one kind: the first ones, and those that are folded away."""

    items: list[AttentionItem]
    folded: list[AttentionItem]


def group_items(items: Iterable[AttentionItem]) -> list[AttentionGroup]:
    """Return the items by kind, those with a bad one first, otherwise in their order."""
    by_kind: dict[str, list[AttentionItem]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    ordered = sorted(by_kind.values(), key=lambda alike: all(item.tone != BAD for item in alike))
    return [split_group(alike) for alike in ordered]


def split_group(alike: list[AttentionItem]) -> AttentionGroup:
    """Return a group that shows MOST_ALIKE of its items, or one more if that is all."""
    shown = len(alike) if len(alike) <= MOST_ALIKE + 1 else MOST_ALIKE
    return AttentionGroup(alike[:shown], alike[shown:])
