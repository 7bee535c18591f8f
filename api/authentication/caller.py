"""The caller of a request, and what the caller may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.limits import access
from api.limits.access import matches_any
from api.limits.caller_limits import CallerLimits
from providers.exceptions import Forbidden, InvalidRequest

# fields with which a caller chooses other models or services at the upstream: OpenRouter's,
# LiteLLM's, Vercel's
UPSTREAM_CHOICE_FIELDS = frozenset(
    """
    models provider route plugins transforms preset fallbacks context_window_fallbacks
    content_policy_fallbacks deployment_id model_list providerOptions provider_options
    """.split()
)


OWN_TOKENS_TEXT = (
    "The request carries no API key of this gateway, but was taken for one with upstream tokens of "
    "its own, for which nothing is stored: no conversations, no files. If you meant an API key, it "
    "is not known here."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid API key, or an unknown caller who brings tokens of `provider`.

    `expires_timestamp` is a UNIX time.
    """

    key_id: int | None
    user_id: int | None
    allowed_models: frozenset[str]
    expires_timestamp: float
    provider: str = ""
    can_store: bool = True  # content may be stored
    remembers_sessions: bool = False  # a `session_id` names a conversation
    default_model: str = ""  # answers requests that name no model
    team_id: int | None = None  # of the user
    limits: CallerLimits | None = None  # None: nothing limits the caller
    tokens: tuple[str, ...] = field(default=(), repr=False)

    def can_use_model(self, name: str, public_id: str) -> bool:
        """Return whether the key may use the model.

        `name` is the caller's name for it: its public id or an alias of it. In the key's list, `*`
        stands for any characters.
        """
        if self.limits is not None and not access.can_use_model(self.limits, name, public_id):
            return False
        models = self.allowed_models
        if not models or public_id in models or name in models:
            return True
        patterns = tuple(sorted(model for model in models if "*" in model))
        return bool(patterns) and (matches_any(patterns, public_id) or matches_any(patterns, name))

    @property
    def is_limited_to_models(self) -> bool:
        """Return whether there are models that the caller may not use."""
        limits = self.limits
        return bool(self.allowed_models) or (
            limits is not None and any(rules.models for rules in limits.access)
        )

    def require_model(self, name: str, public_id: str) -> None:
        """Raise Forbidden unless the key may use the model."""
        if not self.can_use_model(name, public_id):
            raise Forbidden(f"This API key may not use the model {name!r}.", param="model")

    def reject_model_choice(self, body: Mapping[str, object]) -> None:
        """Raise InvalidRequest when a limited key's body may make the upstream use another model.

        Such fields name the upstream's own models and services, which the key's list does not
        cover.
        """
        if self.is_limited_to_models and not UPSTREAM_CHOICE_FIELDS.isdisjoint(body):
            field_name = min(UPSTREAM_CHOICE_FIELDS & body.keys())
            message = (
                f"This API key is limited to certain models, so {field_name!r}, which may choose "
                "others, is not accepted."
            )
            raise InvalidRequest(message, param=field_name, code="unsupported_parameter")

    def require_storing(self) -> None:
        """Raise Forbidden unless content that is sent with the key may be stored."""
        if self.provider:
            raise Forbidden(OWN_TOKENS_TEXT, code="storage_disabled")
        if not self.can_store or self.user_id is None:
            raise Forbidden(
                "Content that is sent with this API key is not stored.", code="storage_disabled"
            )
