"""Prices of upstream models, each valid from a date."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from api.pricing.price_values import NO_MODEL_TEXT, NO_PRICE_TEXT, USD_COLUMNS, validate_tiers
from providers.models import Provider


def make_usd_field(
    label: str, help_text: str
) -> "models.DecimalField[Decimal | None, Decimal | None]":
    """Return a column for an amount in USD, exact to a millionth of a cent; empty: unknown."""
    return models.DecimalField(
        label,
        max_digits=16,
        decimal_places=8,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=help_text,
    )


class Price(models.Model):
    """The price of one upstream model of a provider, in USD, from a time on.

    The latest row that is valid when a request begins gives its cost. A row that records name is
    not changed: a new price is a new row.
    """

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="prices")
    upstream_model = models.CharField(
        max_length=200, help_text="As the provider calls it, for example <code>gpt-5-mini</code>."
    )
    valid_from = models.DateTimeField(help_text="Requests that begin from then on have this price.")
    prompt_usd = make_usd_field("prompt tokens", "Per million prompt tokens, for example 0.25.")
    cached_usd = make_usd_field(
        "cached tokens",
        "Per million prompt tokens that the upstream had in its cache; empty: as prompt tokens.",
    )
    cache_write_usd = make_usd_field(
        "cache-write tokens",
        "Per million prompt tokens that are written to its cache; empty: as prompt tokens.",
    )
    completion_usd = make_usd_field(
        "completion tokens", "Per million completion tokens, for example 2."
    )
    reasoning_usd = make_usd_field(
        "reasoning tokens", "Per million reasoning tokens; empty: as completion tokens."
    )
    request_usd = make_usd_field("request", "Per request, beside its tokens; empty: nothing.")
    image_usd = make_usd_field("image", "Per image that is made; empty: unknown.")
    audio_second_usd = make_usd_field("second of audio", "Per second of audio; empty: unknown.")
    characters_usd = make_usd_field(
        "characters", "Per million characters that are read aloud, for example 15; empty: unknown."
    )
    search_usd = make_usd_field(
        "search unit",
        "Per search unit of a rerank request (a query with up to 100 documents); empty: unknown.",
    )
    tiers = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_tiers],
        help_text=(
            "Other prices for all tokens of a call with a long prompt, for example "
            '<code>[{"above_prompt_tokens": 200000, "prompt_usd": "2.5"}]</code>.'
        ),
    )
    batch_factor = models.DecimalField(
        "batch factor",
        max_digits=5,
        decimal_places=4,
        default=Decimal(1),
        db_default=Decimal(1),
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="Lines of a batch cost so much of the price, for example 0.5 for half of it.",
    )
    source = models.CharField(
        max_length=300, blank=True, help_text="Where the price comes from, for example a page."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["provider", "upstream_model", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "upstream_model", "valid_from"],
                name="price_from_date",
                violation_error_message="This model already has a price from this moment on.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.upstream_model} from {self.valid_from:%Y-%m-%d}"

    def clean(self) -> None:
        """Strip the model's name. Raises ValidationError when the row has no name or no price."""
        self.upstream_model = self.upstream_model.strip()
        if not self.upstream_model:
            raise ValidationError({"upstream_model": NO_MODEL_TEXT})
        if all(getattr(self, name) is None for name in USD_COLUMNS):
            raise ValidationError(NO_PRICE_TEXT)

    @property
    def is_used(self) -> bool:
        """Return whether usage records name this row: then it is not changed any more. A query."""
        return self.usagerecord_set.exists()
