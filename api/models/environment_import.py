"""Values of environment variables that were imported."""

from django.db import models


class EnvironmentImport(models.Model):
    """A variable of the programs that proxysite replaces, and which of its values were imported.

    Written by `proxysite/first_run/environment_records.py`.
    """

    name = models.CharField(max_length=64, unique=True, help_text="Of the variable.")
    digests = models.JSONField(default=list, help_text="Keyed digests of the imported values.")

    def __str__(self) -> str:
        return self.name
