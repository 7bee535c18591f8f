"""Every token is checked once in CHECK_SECONDS, and not all at the same moment.

The period has one slot per minute, and a token's random id says in which it is due: a slot is a range of ids, found by
the primary key's index. Each run takes the slots since the one that was taken last (`providers.Revision`, topic
"checks"), by one conditional UPDATE: two runs at once, or a beat that runs twice, never check a token twice; what a
killed run left out is due again one period later.
"""

import time
from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from providers.models import Revision
from tokens.models import UpstreamToken

SLOT_SECONDS = 60
TOPIC = "checks"
IDS = 1 << 128


def due() -> QuerySet[UpstreamToken]:
    """The tokens whose turn it is; they are this caller's alone."""
    ranges = [Q(pk__gte=UUID(int=first), pk__lte=UUID(int=last)) for first, last in slots(int(time.time()))]
    tokens = UpstreamToken.objects.watched()
    if not ranges:
        return tokens.none()
    wanted = Q()
    for one in ranges:
        wanted |= one
    return tokens.filter(wanted)


def slots(now: int) -> Iterator[tuple[int, int]]:
    """The first and last id of each slot since the last run; they are taken by that."""
    slot, count = now // SLOT_SECONDS, max(1, round(settings.CHECK_SECONDS / SLOT_SECONDS))
    Revision.objects.bulk_create([Revision(topic=TOPIC, version=slot - 1)], ignore_conflicts=True)
    last = Revision.objects.get(topic=TOPIC).version
    rows = Revision.objects.filter(topic=TOPIC, version=last)
    ahead = last > slot + count  # the clock was wrong once
    if (last >= slot and not ahead) or not rows.update(version=slot):
        return
    for number in range(slot if ahead else max(last + 1, slot - count + 1), slot + 1):
        place = number % count
        yield place * IDS // count, (place + 1) * IDS // count - 1
