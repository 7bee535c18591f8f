"""The form of everything that needs attention."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.safestring import SafeString

from providers.admin.page_times import render_time

BAD = "bad"  # requests fail, or soon will
WAIT = "wait"  # somebody should look at it


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
    """One thing to look at: how bad it is, a sentence, a detail, its latest time, and buttons."""

    tone: str
    text: str
    detail: str = ""
    at: datetime | None = None
    buttons: tuple[Button, ...] = ()

    @property
    def shown_at(self) -> SafeString | str:
        return render_time(self.at, is_relative=True)


def sort_items(items: list[AttentionItem]) -> list[AttentionItem]:
    """Return the items with the bad ones first, otherwise in their order."""
    return sorted(items, key=lambda item: item.tone != BAD)
