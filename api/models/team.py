"""Teams: groups of users that share limits."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

DEEPEST_TEAM = 8  # teams above one another, so that a request meets few limits


class Team(models.Model):
    """A group of users, with limits that they share.

    A team within another one is bound by the limits of both.
    """

    name = models.CharField(
        max_length=100, unique=True, help_text="For example <code>Research</code>."
    )
    parent = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name="part of",
        help_text="The team that this one is part of; its limits hold here too. Empty: of none.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError when the team would be part of itself, or too deep."""
        above = list_parents(self)
        if self.pk is not None and any(team.pk == self.pk for team in above):
            raise ValidationError({"parent": "A team cannot be part of itself."})
        if len(above) >= DEEPEST_TEAM:
            raise ValidationError({"parent": f"At most {DEEPEST_TEAM} teams are above each other."})


class TeamMember(models.Model):
    """The membership of a user in a team; a user is in at most one."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="team_membership"
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="members")

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


def list_parents(team: Team) -> list[Team]:
    """Return the teams that this one is part of, the nearest first; at most DEEPEST_TEAM + 1.

    The list has an end even if the rows form a circle.
    """
    parents: list[Team] = []
    above = team.parent
    while above is not None and len(parents) <= DEEPEST_TEAM:
        parents.append(above)
        above = above.parent
    return parents
