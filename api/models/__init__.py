"""The models about callers: API keys, teams, limits, prices, usage records and alerts."""

from api.models.alert import (
    AlertChannel,
    AlertDelivery,
    AlertDeliveryQuerySet,
    AlertEvent,
    AlertKind,
    AlertSubject,
    DeliveryState,
)
from api.models.api_key import ApiKey, KeyQuerySet, is_list_of_text
from api.models.batch import Batch, BatchQuerySet, BatchStatus
from api.models.busiest_subjects import BusiestSubjects
from api.models.environment_import import EnvironmentImport
from api.models.idempotent_request import IdempotentRequest, IdempotentRequestQuerySet
from api.models.invitation import Invitation, InvitationQuerySet, InvitationUse
from api.models.limit_lease import LimitLease, LimitSlot
from api.models.limit_set import BudgetWindow, LimitSet
from api.models.price import Price
from api.models.team import Team, TeamMember
from api.models.usage_record import Status, UsageRecord
from api.models.usage_rollup import (
    RollupState,
    Spend,
    SubjectKind,
    UsageDay,
    UsageHour,
    UsageHourTotal,
)
from api.models.usage_slot import AnswerTimes, UsageSlot

__all__ = [
    "AlertChannel",
    "AlertDelivery",
    "AlertDeliveryQuerySet",
    "AlertEvent",
    "AlertKind",
    "AlertSubject",
    "AnswerTimes",
    "ApiKey",
    "Batch",
    "BatchQuerySet",
    "BatchStatus",
    "BudgetWindow",
    "BusiestSubjects",
    "DeliveryState",
    "EnvironmentImport",
    "IdempotentRequest",
    "IdempotentRequestQuerySet",
    "Invitation",
    "InvitationQuerySet",
    "InvitationUse",
    "KeyQuerySet",
    "LimitLease",
    "LimitSet",
    "LimitSlot",
    "Price",
    "RollupState",
    "Spend",
    "Status",
    "SubjectKind",
    "Team",
    "TeamMember",
    "UsageDay",
    "UsageHour",
    "UsageHourTotal",
    "UsageRecord",
    "UsageSlot",
    "is_list_of_text",
]
