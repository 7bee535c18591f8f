"""Checks of the values of a price; admin, commands and the seed file give the same sentences."""

from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError

ABOVE = "above_prompt_tokens"
# columns whose price is for a million tokens; a tier may change each of them
TOKEN_COLUMNS = ("prompt_usd", "cached_usd", "cache_write_usd", "completion_usd", "reasoning_usd")
UNIT_COLUMNS = ("image_usd", "audio_second_usd", "characters_usd", "search_usd")
USD_COLUMNS = (*TOKEN_COLUMNS, "request_usd", *UNIT_COLUMNS)
DECIMAL_PLACES = 8
MOST_USD = 10**8  # a price is less
HIGHEST_THRESHOLD = 10**9
NO_PRICE_TEXT = "Give at least one price; 0 means that it costs nothing."
NO_MODEL_TEXT = "Name the model as the provider calls it."


def validate_tiers(value: object) -> None:
    """Raise ValidationError unless the value is a list of tiers, the shortest prompts first."""
    if not isinstance(value, list):
        raise ValidationError("Tiers are a list.")
    previous = 0
    for tier in value:
        threshold = validate_tier(tier)
        if threshold <= previous:
            raise ValidationError(f"The tiers must ascend: {threshold} comes after {previous}.")
        previous = threshold


def validate_tier(tier: object) -> int:
    """Return the number of prompt tokens above which the tier holds. Raises ValidationError."""
    if not isinstance(tier, dict):
        raise ValidationError(f"{tier!r} is no tier: write {{}} with {ABOVE} and prices.")
    if unknown := [str(name) for name in tier if name not in (ABOVE, *TOKEN_COLUMNS)]:
        raise ValidationError(
            f"A tier has no field {unknown[0]!r}; there are: {', '.join((ABOVE, *TOKEN_COLUMNS))}."
        )
    threshold = tier.get(ABOVE)
    if type(threshold) is not int or not 0 < threshold <= HIGHEST_THRESHOLD:
        raise ValidationError(
            f"{ABOVE} must be a number of tokens from 1 to {HIGHEST_THRESHOLD}, not {threshold!r}."
        )
    if len(tier) == 1:
        raise ValidationError(f"The tier above {threshold} tokens has no price.")
    for name in TOKEN_COLUMNS:
        if name in tier:
            parse_tier_usd(name, tier[name])
    return threshold


def parse_tier_usd(name: str, value: object) -> Decimal:
    """Return the price in a field of a tier. Raises ValidationError."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidOperation
        price = Decimal(str(value).strip())
        if not price.is_finite() or price != round(price, DECIMAL_PLACES):
            raise InvalidOperation
    except InvalidOperation:
        raise ValidationError(
            f"{name} of a tier must be a price in USD such as 2.5, not {value!r}."
        ) from None
    if price < 0:
        raise ValidationError(f"{name} of a tier cannot be negative.")
    if price >= MOST_USD:
        raise ValidationError(f"{name} of a tier must be less than {MOST_USD}.")
    return price
