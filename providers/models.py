"""Rows about upstreams: Provider, ChatModel, ModelAlias, VirtualModel, Revision, Tombstone.

A Provider says where an upstream is and how to call it. A ChatModel maps a public id to a
provider's model, a ModelAlias maps another name to a public id, a VirtualModel maps a public id to
a strategy over another model. Several ChatModel rows may have one public id, one per provider: they
are candidates, tried by priority (lower first), within one priority by weight. `Revision` counts
changes per topic; `providers/database/revisions.py` has the triggers that do it.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from providers import registry
from providers.choices import Capability, Mode, Rotation, Search, Thinking, Thinks
from providers.deletions.deletion_model import Deletion
from providers.network import destination
from providers.network.address_guard import find_base_url_problem

__all__ = ["ChatModel", "Deletion", "ModelAlias", "Provider", "Revision", "VirtualModel"]
NAME_VALIDATOR = RegexValidator(
    r"\A[a-z0-9][a-z0-9_.-]*\Z", "Lower-case letters, digits, dot, hyphen and underscore only."
)
MODEL_ID_VALIDATOR = RegexValidator(
    r"\A[^\s\x00-\x1f\x7f]+\Z", "A model id has no spaces or control characters."
)


def kind_exists(kind: str) -> None:
    """Raise ValidationError unless an adapter file of that name exists."""
    if kind not in registry.list_adapter_kinds():
        raise ValidationError(
            f"No adapter named {kind!r}; there are: {', '.join(registry.list_adapter_kinds())}."
        )


def headers_are_clean(headers: object) -> None:
    """Raise ValidationError unless it is an object of header names and printable ASCII values.

    Headers that the gateway itself writes (`registry.OWN_HEADERS`) are not allowed.
    """
    if not isinstance(headers, dict):
        raise ValidationError("Give an object of header names and values.")
    for name, value in headers.items():
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValidationError(f"The value of {name!r} must be printable ASCII on one line.")
        if (
            not name.replace("-", "").isalnum()
            or not name.isascii()
            or name.lower() in registry.OWN_HEADERS
        ):
            raise ValidationError(f"{name!r} is not a header that may be set here.")


def capabilities_exist(names: object) -> None:
    """Raise ValidationError unless it is a list of capability names."""
    if not isinstance(names, list) or any(name not in Capability.values for name in names):
        raise ValidationError(f"Give a list of: {', '.join(Capability.values)}.")


def is_object(value: object) -> None:
    """Raise ValidationError unless it is a JSON object."""
    if not isinstance(value, dict):
        raise ValidationError("Give an object.")


class ProviderQuerySet(models.QuerySet["Provider"]):
    def set_aside_ids(self) -> list[int]:
        """Return the ids of providers that are not called until a person confirms their address.

        It reads all rows: a few hundred at most.
        """
        columns = self.only("pk", "kind", "base_url", "confirmed_destination")
        return [provider.pk for provider in columns if provider.set_aside_reason]


class Provider(models.Model):
    """One upstream: where it is, which dialect it speaks, how its tokens are rotated."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[NAME_VALIDATOR],
        help_text="Short name, for example <code>moonshot</code>.",
    )
    kind = models.CharField(
        max_length=64,
        validators=[kind_exists],
        help_text=(
            "The adapter that speaks its dialect, for example <code>openai_compatible</code>."
        ),
    )
    base_url = models.CharField(
        max_length=500,
        blank=True,
        help_text="Everything before <code>/chat/completions</code>, for example "
        "<code>https://api.moonshot.ai/v1</code>.",
    )
    enabled = models.BooleanField(default=True, help_text="Off: none of its models answers.")
    rotation = models.CharField(
        max_length=16,
        choices=Rotation,
        default=Rotation.ROUND_ROBIN,
        help_text="Which token is used next.",
    )
    mode = models.CharField(
        max_length=16,
        choices=Mode,
        default=Mode.USER,
        help_text="Guest: where the upstream has such an entrance.",
    )
    needs_token = models.BooleanField(
        default=True,
        help_text="Off for upstreams that ask for no credential, for example a local Ollama.",
    )
    native_tools = models.BooleanField(
        default=True, help_text="Off when its models cannot call tools themselves."
    )
    reports_usage = models.BooleanField(
        default=True,
        help_text="Off when it refuses <code>stream_options</code>; tokens are then counted here.",
    )
    allow_private = models.BooleanField(
        default=False, help_text="Allow an address on this machine or network, and plain http."
    )
    headers = models.JSONField(
        default=dict,
        blank=True,
        validators=[headers_are_clean],
        help_text='Extra headers, for example <code>{"OpenAI-Organization": "org-1"}</code>.',
    )
    connect_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="Empty: the setting CONNECT_SECONDS.",
    )
    first_byte_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="Empty: the setting FIRST_BYTE_SECONDS.",
    )
    gap_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="Empty: the setting GAP_SECONDS.",
    )
    total_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="Empty: the setting TOTAL_SECONDS.",
    )
    confirmed_destination = models.CharField(
        max_length=500,
        blank=True,
        editable=False,
        help_text="The origin that its tokens may be sent to.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProviderQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rotation__in=Rotation.values), name="provider_rotation_known"
            ),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="provider_mode_known"),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gt": 0}),
                    name=f"provider_{name}_positive",
                )
                for name in (
                    "connect_seconds",
                    "first_byte_seconds",
                    "gap_seconds",
                    "total_seconds",
                )
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row; confirm a new address if the provider has no credentials to lose."""
        if self._state.adding or (self.set_aside_reason and not self.has_credentials()):
            self.confirm_destination()
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "confirmed_destination"}
        super().save(*args, **kwargs)

    @property
    def destination(self) -> str:
        """Return the origin that its credentials go to; empty where its adapter sends none."""
        return destination.destination(self.kind, self.base_url)

    @property
    def set_aside_reason(self) -> str:
        """Return why it is not called until a person confirms its address; empty when it is called.

        The text is for the staff.
        """
        return "" if self._state.adding else destination.find_destination_problem(self)

    def has_credentials(self) -> bool:
        """Return whether its address gets credentials: tokens, accounts or callers' tokens."""
        borrowed = self.name == settings.PASSTHROUGH_PROVIDER
        return borrowed or any(getattr(self, name).exists() for name in ("tokens", "accounts"))

    def confirm_destination(self) -> None:
        """Set the present address as the one that credentials may be sent to; the caller saves."""
        self.confirmed_destination = self.destination

    def clean(self) -> None:
        # an empty list or text passes the field's own validators
        if not isinstance(self.headers, dict):
            raise ValidationError({"headers": "Give an object of header names and values."})
        if self.kind not in registry.list_adapter_kinds():
            return
        adapter = registry.get_adapter_class(self.kind)
        if self.mode not in adapter.modes:
            raise ValidationError({"mode": f"{adapter.label} has no entrance for guests."})
        if adapter.has_url:
            problem = find_base_url_problem(self.base_url, self.allow_private)
            if problem:
                raise ValidationError({"base_url": problem})
            self.base_url = self.base_url.rstrip("/")


class ChatModelQuerySet(models.QuerySet["ChatModel"]):
    def served(self) -> "ChatModelQuerySet":
        """Return the models that can be called: they and their providers are enabled."""
        return self.filter(enabled=True, provider__enabled=True)

    def public_ids(self) -> list[str]:
        return sorted(set(self.values_list("public_id", flat=True)))


class ChatModel(models.Model):
    """A model that callers may name, and which provider's model answers for it."""

    public_id = models.CharField(
        max_length=200,
        validators=[MODEL_ID_VALIDATOR],
        help_text="What callers write, for example <code>kimi-k2</code>.",
    )
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="models")
    upstream_name = models.CharField(
        max_length=200,
        validators=[MODEL_ID_VALIDATOR],
        help_text="What the upstream calls it, for example <code>moonshotai/Kimi-K2</code>.",
    )
    enabled = models.BooleanField(default=True)
    priority = models.SmallIntegerField(
        default=0, help_text="Among rows with one public id the lowest is tried first."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1)],
        help_text="Share of the requests among rows of one priority.",
    )
    capabilities = models.JSONField(
        default=list,
        blank=True,
        validators=[capabilities_exist],
        help_text='For example <code>["chat", "tools"]</code>; empty: not checked.',
    )
    context_window = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens, for example <code>131072</code>."
    )
    thinks = models.CharField(
        max_length=16,
        choices=Thinks,
        default=Thinks.SEPARATE,
        help_text="Where the upstream puts its thinking.",
    )
    thinking = models.CharField(
        max_length=16,
        choices=Thinking,
        default=Thinking.REASONING,
        help_text="What callers get of it.",
    )
    search = models.CharField(
        max_length=8,
        choices=Search,
        blank=True,
        help_text="Web search; empty: as the upstream does by itself.",
    )
    options = models.JSONField(
        default=dict,
        blank=True,
        validators=[is_object],
        help_text='What else the adapter needs, for example <code>{"scenario": '
        '"SCENARIO_K2D5"}</code>.',
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ChatModelQuerySet.as_manager()

    class Meta:
        ordering = ["public_id", "priority", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["public_id", "provider"], name="chatmodel_once_per_provider"
            ),
            models.CheckConstraint(condition=Q(weight__gte=1), name="chatmodel_weight_positive"),
            models.CheckConstraint(
                condition=Q(thinks__in=Thinks.values), name="chatmodel_thinks_known"
            ),
            models.CheckConstraint(
                condition=Q(thinking__in=Thinking.values), name="chatmodel_thinking_known"
            ),
            models.CheckConstraint(
                condition=Q(search__in=["", *Search.values]), name="chatmodel_search_known"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class ModelAlias(models.Model):
    """Another name for a public id.

    It may also change thinking and search, for example `-nothink` and `-search`.
    """

    alias = models.CharField(
        max_length=200,
        unique=True,
        validators=[MODEL_ID_VALIDATOR],
        help_text="What callers may also write, for example <code>gpt-4o</code>.",
    )
    public_id = models.CharField(
        max_length=200,
        validators=[MODEL_ID_VALIDATOR],
        help_text="The model meant, for example <code>kimi-k2</code>.",
    )
    thinking = models.CharField(
        max_length=16,
        choices=Thinking,
        blank=True,
        help_text="What callers get of its thinking; empty: as the model.",
    )
    search = models.CharField(
        max_length=8, choices=Search, blank=True, help_text="Web search; empty: as the model."
    )

    class Meta:
        ordering = ["alias"]
        verbose_name_plural = "model aliases"
        constraints = [
            models.CheckConstraint(
                condition=~Q(alias=F("public_id")),
                name="modelalias_not_itself",
                violation_error_message="An alias cannot mean itself.",
            ),
            models.CheckConstraint(
                condition=Q(thinking__in=["", *Thinking.values]), name="modelalias_thinking_known"
            ),
            models.CheckConstraint(
                condition=Q(search__in=["", *Search.values]), name="modelalias_search_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias} → {self.public_id}"


class VirtualModel(models.Model):
    """A public id whose answers are produced by a strategy over the model of another public id."""

    public_id = models.CharField(
        max_length=200,
        unique=True,
        validators=[MODEL_ID_VALIDATOR],
        help_text="What callers write, for example <code>o1-kimi-k2</code>.",
    )
    base = models.CharField(
        max_length=200,
        validators=[MODEL_ID_VALIDATOR],
        help_text="The model that is asked, for example <code>kimi-k2</code>.",
    )
    strategy = models.CharField(
        max_length=64, help_text="How an answer is thought up, for example <code>stepwise</code>."
    )
    options = models.JSONField(
        default=dict,
        blank=True,
        validators=[is_object],
        help_text='What the strategy needs, for example <code>{"max_steps": 10}</code>; empty: its '
        "defaults.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["public_id"]

    def __str__(self) -> str:
        return self.public_id

    def clean(self) -> None:
        if ChatModel.objects.filter(public_id=self.public_id).exists():
            raise ValidationError(
                {"public_id": "There is a model of this name, which would be found first."}
            )
        if self.base == self.public_id or VirtualModel.objects.filter(public_id=self.base).exists():
            raise ValidationError(
                {"base": f"{self.base!r} has a strategy itself: name the model below it."}
            )
        if VirtualModel.objects.filter(base=self.public_id).exclude(pk=self.pk).exists():
            raise ValidationError(
                {"public_id": f"Other models stand upon {self.public_id!r}: it cannot be virtual."}
            )


class Revision(models.Model):
    """The number of changes to rows that requests read, per topic.

    Only database triggers write it.
    """

    topic = models.CharField(max_length=32, primary_key=True)
    version = models.BigIntegerField(default=0)
    # a reader that knows only an older version reads every row again
    floor = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.topic} {self.version}"


class Tombstone(models.Model):
    """A deleted row of a stamped table, with the version of its topic.

    Only database triggers write it.
    """

    topic = models.CharField(max_length=32)
    row_id = models.CharField(max_length=64)
    version = models.BigIntegerField()
    deleted_at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = [models.Index(fields=["topic", "version"], name="tombstone_topic_version")]

    def __str__(self) -> str:
        return f"{self.topic} {self.row_id}"
