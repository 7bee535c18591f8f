"""The part of a conversation that one page shows, with links to the turns before and after it.

The last turns are shown first. A page ends after TURNS_SHOWN turns or PAGE_ITEMS items. The
address may name the turn before which it ends (`before`), an item that a search found (`hit`), or
a single turn with very many items (`turn`, from the item `from` on).
"""

from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest

from conversations.admin.request_facts import read_request_facts
from conversations.admin.thread import item_rows
from conversations.admin.thread.turn_view import TurnView, describe_turn
from conversations.models import Conversation, Item, Turn
from providers.integers import parse_integer

TURNS_SHOWN = 50
PAGE_ITEMS = 400  # of all turns of a page together, at least those of one turn
TURNS_AFTER_HIT = 5
SINGLE_TURN_ITEMS = 200  # of a turn that has the page to itself
LARGEST_NUMBER = 999_999_999  # of a turn
LARGEST_ID = 2**63 - 1


class Thread:
    """Some turns of a conversation for the template, in their order."""

    def __init__(
        self, conversation: Conversation, request: HttpRequest, *, with_items: bool
    ) -> None:
        self.conversation = conversation
        self.user = cast(User, request.user)
        self.query = request.GET
        self.with_items = with_items
        self.hit = self._read_number("hit", LARGEST_ID) if with_items else None
        self.older: int | None = None  # `before` of the page of older turns
        self.newer: int | None = None  # `before` of the page of newer turns
        self.next_item: int | None = None  # `from` of the next page of a single turn
        self.single = self._read_number("turn", LARGEST_NUMBER) if with_items else None
        self.turns: list[TurnView] = []
        if self.single is not None:
            self._load_single_turn(self.single)
        else:
            self._load_turns()

    def _read_number(self, name: str, largest: int) -> int | None:
        return parse_integer(self.query.get(name, ""), 0, largest)

    # --- a page of turns --------------------------------------------------------------------------
    def _load_turns(self) -> None:
        before = self._find_before()
        newest_first = list(
            Turn.objects.filter(conversation=self.conversation, number__lt=before).order_by(
                "-number"
            )[: TURNS_SHOWN + 1]
        )
        item_ids = item_rows.list_item_ids(turn.pk for turn in newest_first[:TURNS_SHOWN])
        chosen = {
            turn_id: item_rows.choose_items(ids, self.hit) for turn_id, ids in item_ids.items()
        }
        count = count_fitting_turns(newest_first[:TURNS_SHOWN], chosen)
        shown = newest_first[:count][::-1]
        self.turns = self._describe(shown, item_ids, chosen)
        if shown and len(newest_first) > count:
            self.older = shown[0].number
        if shown and shown[-1].number < self.conversation.last_number:
            self.newer = min(shown[-1].number + TURNS_SHOWN + 1, LARGEST_NUMBER)

    def _find_before(self) -> int:
        """Return the number of the turn before which the page ends."""
        if self.hit is not None:
            hits = Item.objects.filter(pk=self.hit, conversation=self.conversation)
            number = hits.values_list("turn__number", flat=True).first()
            if number is not None:
                return int(number) + TURNS_AFTER_HIT + 1
        before = self._read_number("before", LARGEST_NUMBER)
        return LARGEST_NUMBER + 1 if before is None else before

    def _describe(
        self,
        turns: Sequence[Turn],
        item_ids: Mapping[UUID, Sequence[int]],
        chosen: Mapping[UUID, Sequence[int]],
    ) -> list[TurnView]:
        """Return the turns with their chosen items, read together."""
        facts = read_request_facts([turn.pk for turn in turns], self.user)
        views = {}
        if self.with_items:
            ids = [pk for turn in turns for pk in chosen.get(turn.pk, ())]
            views = item_rows.load_items(ids, self.hit)
        described = []
        for turn in turns:
            ids = list(chosen.get(turn.pk, ()))
            items = [views[pk] for pk in ids if pk in views]
            gap = len(item_ids.get(turn.pk, ())) - len(ids)
            described.append(describe_turn(turn, items, facts.get(turn.pk), gap))
        return described

    # --- one turn ---------------------------------------------------------------------------------
    def _load_single_turn(self, number: int) -> None:
        """Show one turn from an item on."""
        turns = Turn.objects.filter(conversation=self.conversation, number=number)
        turn = turns.first()
        if turn is None:
            return
        first = self._read_number("from", LARGEST_ID) or 0
        rows = Item.objects.filter(turn=turn, pk__gte=first).order_by("turn_id", "pk")
        ids = list(rows.values_list("pk", flat=True)[: SINGLE_TURN_ITEMS + 1])
        if len(ids) > SINGLE_TURN_ITEMS:
            self.next_item = ids.pop()
        self.turns = self._describe([turn], {turn.pk: ids}, {turn.pk: ids})


def count_fitting_turns(turns: Sequence[Turn], chosen: Mapping[UUID, Sequence[int]]) -> int:
    """Return how many of the turns, the newest first, have at most PAGE_ITEMS items; at least 1."""
    items = 0
    for count, turn in enumerate(turns):
        items += len(chosen.get(turn.pk, ()))
        if items > PAGE_ITEMS and count:
            return count
    return len(turns)
