"""The row that remembers which rights a ready-made role was given by this program."""

from django.contrib.auth.models import Group
from django.db import models


class Role(models.Model):
    """A ready-made role and its group; a group that somebody deleted is not made again.

    An update gives the group only rights that are not in `granted`. So a right that an operator
    took away stays away, and one that an operator added stays.
    """

    name = models.CharField(max_length=32, primary_key=True)
    group = models.OneToOneField(
        Group, models.SET_NULL, null=True, related_name="role", editable=False
    )
    granted = models.JSONField(
        default=list, help_text="The rights that this program has given, for example api.x."
    )

    def __str__(self) -> str:
        return self.name
