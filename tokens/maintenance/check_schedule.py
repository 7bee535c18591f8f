"""The schedule of periodic checks: each token once in CHECK_SECONDS, spread over that time.

No provider is asked too often. The ids of tokens, which are random, form a circle. A provider's
position on it (`CheckProgress`) goes around once per period. Each run takes the tokens that the
position passes, at most CHECKS_PER_MINUTE of one provider. When that many are taken the position
stops, and the next run continues there. So a pool that is too large for the period is checked more
slowly, and every token gets its turn. A run takes its tokens by one conditional UPDATE, so two runs
at once never check a token twice. Tokens that a killed run left out are due again one period later.
"""

import time
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from tokens.models import CheckProgress, UpstreamToken
from tokens.querysets import TokenQuerySet

SLOT_SECONDS = 60
CIRCLE_SIZE = 1 << 32  # positions on the circle; the first 32 bits of an id are its place
PLACE_SHIFT = 96
CLAIM_ATTEMPTS = 5  # to claim checks while other processes claim some too


class CheckClock(NamedTuple):
    """The present minute, and how far a provider's position should be at its end.

    `target` counts positions over all rounds of the circle.
    """

    minute: int
    target: int
    step: int  # positions per minute


def claim_due_tokens() -> QuerySet[UpstreamToken]:
    """Claim the tokens whose turn it is, for this caller alone. Writes the providers' positions."""
    clock = read_clock(int(time.time()))
    watched = UpstreamToken.objects.filter_maintained()
    ids: list[UUID] = []
    for provider_id in watched.order_by().values_list("provider_id", flat=True).distinct():
        ids += claim_turn(watched.filter(provider_id=provider_id), provider_id, clock)
    return UpstreamToken.objects.filter(pk__in=ids)


def read_clock(now: int) -> CheckClock:
    """Return the clock at the UNIX time `now`."""
    minute = now // SLOT_SECONDS
    slots = max(1, round(settings.CHECK_SECONDS / SLOT_SECONDS))
    rounds, slot = divmod(minute, slots)
    target = rounds * CIRCLE_SIZE + (slot + 1) * CIRCLE_SIZE // slots
    return CheckClock(minute, target, step=-(-CIRCLE_SIZE // slots))


def claim_turn(tokens: TokenQuerySet, provider_id: int, clock: CheckClock) -> list[UUID]:
    """Claim one provider's tokens between its position and the clock's.

    Writes the new position. Returns no tokens when another process was faster.
    """
    progress = get_or_create_progress(provider_id, clock)
    start = find_start(progress.position, clock)
    checks_left = count_checks_left(progress, clock)
    if start >= clock.target or checks_left <= 0:
        return []
    ids = find_ids_between(tokens, start, min(clock.target, start + CIRCLE_SIZE), checks_left)
    end = clock.target
    if len(ids) == checks_left:  # there may be more: the next run continues after the last one
        end = start + (find_place(ids[-1]) - start) % CIRCLE_SIZE + 1
    if not update_progress(progress, clock, len(ids), position=end):
        return []
    return ids


def find_start(position: int, clock: CheckClock) -> int:
    """Return the position to continue from.

    A position ahead of the clock comes from another clock or period, and starts one step back from
    the target. A pool that is too large for its period stays behind by between one and two rounds:
    it is always due, and when it shrinks it has no old rounds to make up for.
    """
    behind = clock.target - position
    if behind < 0:
        return clock.target - clock.step
    return position + max(0, (behind - CIRCLE_SIZE - 1) // CIRCLE_SIZE) * CIRCLE_SIZE


def find_ids_between(tokens: TokenQuerySet, start: int, end: int, max_count: int) -> list[UUID]:
    """Return the first ids on the circle from `start` to before `end`, at most `max_count`.

    The range may cross the seam of the circle.
    """
    first = start % CIRCLE_SIZE
    last = first + (end - start)
    ranges = [(first, min(last, CIRCLE_SIZE)), (0, last - CIRCLE_SIZE)]
    ids: list[UUID] = []
    for low, high in ranges:
        if high > low and len(ids) < max_count:
            inside = tokens.filter(
                pk__gte=find_lowest_id(low), pk__lte=UUID(int=(high << PLACE_SHIFT) - 1)
            )
            ids += inside.order_by("pk").values_list("pk", flat=True)[: max_count - len(ids)]
    return ids


def claim_checks(provider_id: int, wanted: int) -> int:
    """Claim checks of a provider for this minute; return how many of `wanted` it may have."""
    for _ in range(CLAIM_ATTEMPTS):
        clock = read_clock(int(time.time()))
        progress = get_or_create_progress(provider_id, clock)
        granted = min(wanted, count_checks_left(progress, clock))
        if granted <= 0:
            return 0
        if update_progress(progress, clock, granted, position=progress.position):
            return granted
    return 0


def get_or_create_progress(provider_id: int, clock: CheckClock) -> CheckProgress:
    """Return the provider's row; a new one begins with the present minute."""
    new = CheckProgress(provider_id=provider_id, position=clock.target - clock.step)
    CheckProgress.objects.bulk_create([new], ignore_conflicts=True)
    return CheckProgress.objects.get(pk=provider_id)


def count_checks_left(progress: CheckProgress, clock: CheckClock) -> int:
    """Return how many checks of the provider are left in this minute."""
    return int(settings.CHECKS_PER_MINUTE) - count_begun_checks(progress, clock)


def count_begun_checks(progress: CheckProgress, clock: CheckClock) -> int:
    """Return how many checks of the provider have begun in this minute."""
    if progress.minute != clock.minute:
        return 0
    return progress.checks


def update_progress(
    progress: CheckProgress, clock: CheckClock, checks: int, *, position: int
) -> bool:
    """Record that so many checks begin now; return False when another process was faster."""
    unchanged = CheckProgress.objects.filter(
        pk=progress.pk,
        position=progress.position,
        minute=progress.minute,
        checks=progress.checks,
    )
    checks += count_begun_checks(progress, clock)
    return bool(unchanged.update(position=position, minute=clock.minute, checks=checks))


def find_place(token_id: UUID) -> int:
    return token_id.int >> PLACE_SHIFT


def find_lowest_id(place: int) -> UUID:
    """Return the lowest id at a place."""
    return UUID(int=place << PLACE_SHIFT)
