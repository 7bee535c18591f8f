"""The cost and the record of each request of a conversation, for the pages of conversations."""

from collections.abc import Collection, Mapping
from uuid import UUID

from django.contrib.auth.models import User
from django.urls import reverse

from api.models import UsageRecord
from conversations.admin.request_facts import RequestFacts, register_facts_reader

VIEW_PERMISSION = "api.view_usagerecord"


def read_facts(request_ids: Collection[UUID], user: User) -> Mapping[UUID, RequestFacts]:
    """Return the facts of these requests; none for a user who may not see usage records."""
    if not request_ids or not user.has_perm(VIEW_PERMISSION):
        return {}
    records = UsageRecord.objects.filter(pk__in=list(request_ids))
    return {
        pk: RequestFacts(cost, reverse("admin:api_usagerecord_change", args=[pk]))
        for pk, cost in records.values_list("pk", "cost_micro_usd")
    }


register_facts_reader(read_facts)
