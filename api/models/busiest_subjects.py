"""The busiest keys, users, models and providers of long spans, added up beforehand.

A worker writes them (`api/usage/spans/stored_tops.py`), because adding up a month of millions of
requests takes seconds, and no page may take so long.
"""

from django.db import models


class BusiestSubjects(models.Model):
    """The subjects with the most requests of the last days: one row for each number of days."""

    days = models.PositiveSmallIntegerField(primary_key=True)
    begin = models.DateTimeField(
        help_text="When the first request of the sums began at the earliest."
    )
    end = models.DateTimeField(help_text="When they were added up.")
    milliseconds = models.PositiveIntegerField(help_text="The time it took to add them up.")
    sums = models.JSONField(
        help_text="By group a list of rows: id, requests, prompt tokens, completion tokens, "
        "cost in millionths of a USD, requests of unknown cost."
    )

    def __str__(self) -> str:
        return f"{self.days} days"
