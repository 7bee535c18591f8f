"""An order: one action on all tokens that match a filter, or on those that were ticked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from uuid import UUID

from providers.models import Provider
from providers.protocol.json_types import JsonObject
from tokens.models import UpstreamToken
from tokens.querysets import TokenQuerySet
from tokens.token_filter import apply_filters, exclude_deleted

CHECK = "check"
RESET = "reset"
ENABLE = "enable"
DISABLE = "disable"
MOVE = "move"


@dataclass(frozen=True, slots=True)
class Order:
    """One action, and the tokens that it is for.

    `query` is a filter of the list (`tokens/token_filter.py`). With `ids` only these tokens are
    meant. `provider_id` is the target of a move. `username` is who ordered it.
    """

    action: str
    username: str
    query: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] | None = None
    provider_id: int | None = None

    def select_tokens(self) -> TokenQuerySet:
        """Return the tokens that the order is for. Raises UnknownFilter."""
        tokens = exclude_deleted(UpstreamToken.objects.all())
        if self.ids is not None:
            tokens = tokens.filter(pk__in=[UUID(token_id) for token_id in self.ids])
        return apply_filters(tokens, self.query)

    def find_target(self) -> Provider | None:
        """Return the provider that tokens are moved to; None when it is gone."""
        if self.provider_id is None:
            return None
        return Provider.objects.filter(pk=self.provider_id).first()

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, values: JsonObject) -> "Order":
        ids = values["ids"]
        return cls(**{**values, "ids": None if ids is None else tuple(ids)})
