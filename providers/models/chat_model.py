"""The models ChatModel, ModelAlias and VirtualModel: the names that callers may write.

A ChatModel maps a public id to a provider's model, a ModelAlias maps another name to a public id, a
VirtualModel maps a public id to a strategy over another model. Several ChatModel rows may have one
public id, one per provider: they are candidates, tried by priority (lower first), within one
priority by weight.
"""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from providers import registry
from providers.choices import LongPrompts, Search, Thinking, ThinkingFormat
from providers.models.provider import Provider
from providers.models.validators import (
    MODEL_ID_VALIDATOR,
    capabilities_exist,
    is_object,
    server_tools_exist,
)


class ChatModelQuerySet(models.QuerySet["ChatModel"]):
    def filter_served(self) -> "ChatModelQuerySet":
        """Return the models that can be called: they and their providers are enabled."""
        return self.filter(enabled=True, provider__enabled=True)

    def list_public_ids(self) -> list[str]:
        """Return the names that callers write for these models, each once and sorted."""
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
    max_output_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The longest answer in tokens, for example <code>65536</code>; callers see it in "
        "the list of models.",
    )
    long_prompts = models.CharField(
        max_length=8,
        choices=LongPrompts,
        blank=True,
        help_text="Prompts longer than the context window; empty: long texts are fitted, but the "
        "system prompt of a request that offers tools is not.",
    )
    thinking_format = models.CharField(
        max_length=16,
        choices=ThinkingFormat,
        default=ThinkingFormat.SEPARATE,
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
    server_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[server_tools_exist],
        help_text='Tools that the gateway runs, for example <code>["web_search", "mcp"]</code>; '
        'empty: those of the setting SERVER_TOOLS; <code>["none"]</code>: none.',
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
                condition=Q(thinking_format__in=ThinkingFormat.values),
                name="chatmodel_thinking_format_known",
            ),
            models.CheckConstraint(
                condition=Q(thinking__in=Thinking.values), name="chatmodel_thinking_known"
            ),
            models.CheckConstraint(
                condition=Q(search__in=["", *Search.values]), name="chatmodel_search_known"
            ),
            models.CheckConstraint(
                condition=Q(long_prompts__in=["", *LongPrompts.values]),
                name="chatmodel_long_prompts_known",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def known_capabilities(self) -> list[str]:
        """Return the capabilities that the row names, or else those of its provider's kind."""
        kind = self.provider.kind
        if self.capabilities or kind not in registry.list_adapter_kinds():
            return list(self.capabilities)
        return list(registry.get_adapter_class(kind).capabilities)


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
        help_text="The model that is called, for example <code>kimi-k2</code>.",
    )
    strategy = models.CharField(
        max_length=64, help_text="How an answer is made, for example <code>stepwise</code>."
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
                {"public_id": f"Other virtual models use {self.public_id!r}: it cannot be virtual."}
            )
