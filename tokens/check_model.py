"""The model TokenCheck: the latest check of a token, and its result.

It has a table of its own, so that checks do not write the rows that requests use.
"""

from django.db import models


class TokenCheck(models.Model):
    """The latest check of one token at its upstream."""

    token = models.OneToOneField(
        "tokens.UpstreamToken", models.CASCADE, primary_key=True, related_name="last_check"
    )
    at = models.DateTimeField(db_index=True)
    outcome = models.CharField(
        max_length=20, db_index=True, help_text="For example <code>works</code>."
    )
    reason = models.CharField(
        max_length=200, blank=True, help_text="The upstream's words, without secrets."
    )
    milliseconds = models.PositiveIntegerField(null=True, help_text="How long the upstream took.")

    def __str__(self) -> str:
        return f"{self.outcome} {self.at:%Y-%m-%d %H:%M}"
