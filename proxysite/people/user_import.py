"""Read users from CSV, preview the result of each line, and create them.

The first line names the columns, in any order: username, and if wanted first_name, last_name,
email, team, role. A semicolon or a tab may separate them, as spreadsheets write it.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from api.models import Team, TeamMember

COLUMNS = ("username", "first_name", "last_name", "email", "team", "role")
NAME_CHUNK = 500  # names that one query looks up
# other names that spreadsheets have for the columns
COLUMN_ALIASES = {
    "user": "username",
    "name": "username",
    "login": "username",
    "first name": "first_name",
    "last name": "last_name",
    "surname": "last_name",
    "e-mail": "email",
    "mail": "email",
    "group": "team",
}


class UnreadableFile(ValueError):
    """The text is no table of users; the message is for the person."""


@dataclass
class UserLine:
    """One line: its number in the file, its values, and why it cannot be imported, if it cannot."""

    number: int
    values: dict[str, str]
    problems: list[str] = field(default_factory=list)

    @property
    def username(self) -> str:
        return self.values.get("username", "")


@dataclass(frozen=True)
class KnownRows:
    """The rows that lines refer to: names of users that exist, teams and roles by their names."""

    usernames: frozenset[str]
    teams: dict[str, Team]
    roles: dict[str, Group]


def read_lines(text: str, most_lines: int) -> list[UserLine]:
    """Return the lines of a CSV text. Raises UnreadableFile."""
    text = text.lstrip("\ufeff").replace("\x00", "")
    if not text.strip():
        raise UnreadableFile(_("There is nothing in it."))
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = read_columns(next(rows, []))
        filled = (
            UserLine(rows.line_num, dict(zip(columns, map(str.strip, row), strict=False)))
            for row in rows
            if any(cell.strip() for cell in row)
        )
        lines = list(islice(filled, most_lines + 1))  # a file may have millions of lines
    except csv.Error as error:
        raise UnreadableFile(_("The file is no CSV: %(reason)s.") % {"reason": error}) from None
    if not lines:
        raise UnreadableFile(_("There are no users below the first line."))
    if len(lines) > most_lines:
        raise UnreadableFile(
            _("There are more than %(count)d users: import them in parts.") % {"count": most_lines}
        )
    return lines


def read_columns(row: Sequence[str]) -> list[str]:
    """Return the names of the columns. Raises UnreadableFile when they do not fit."""
    names = [cell.strip().lower() for cell in row]
    columns = [COLUMN_ALIASES.get(name, name) for name in names]
    unknown = sorted({name for name in columns if name and name not in COLUMNS})
    if "username" not in columns:
        raise UnreadableFile(
            _("The first line must name the columns, among them username: %(columns)s.")
            % {"columns": ", ".join(COLUMNS)}
        )
    if unknown or len(set(columns)) < len(columns):
        raise UnreadableFile(
            _("Columns are %(columns)s, each once; not: %(unknown)s.")
            % {"columns": ", ".join(COLUMNS), "unknown": ", ".join(unknown) or "-"}
        )
    return columns


def check_lines(
    lines: list[UserLine], *, may_give_roles: bool, may_give_teams: bool = True
) -> None:
    """Write into each line why it cannot be imported, if it cannot."""
    known = load_known_rows(lines)
    seen: set[str] = set()
    for line in lines:
        line.problems = find_problems(line, known)
        if line.values.get("role") and not may_give_roles:
            line.problems.append(_("only a superuser gives roles"))
        if line.values.get("team") and not may_give_teams:
            line.problems.append(_("you may not put users into teams"))
        if line.username in seen:
            line.problems.append(_("twice in the file"))
        seen.add(line.username)


def load_known_rows(lines: Sequence[UserLine]) -> KnownRows:
    """Return the rows that these lines may refer to."""
    names = [line.username for line in lines]
    known: set[str] = set()
    for start in range(0, len(names), NAME_CHUNK):
        rows = User.objects.filter(username__in=names[start : start + NAME_CHUNK])
        known.update(rows.values_list("username", flat=True))
    teams = {line.values.get("team", "") for line in lines}
    return KnownRows(
        frozenset(known),
        {team.name: team for team in Team.objects.filter(name__in=teams)},
        {group.name: group for group in Group.objects.all()},
    )


def find_problems(line: UserLine, known: KnownRows) -> list[str]:
    """Return why a user of this line cannot be made; empty where he can."""
    problems = []
    if line.username in known.usernames:
        problems.append(_("exists already"))
    try:
        make_user(line).full_clean(exclude=["password"], validate_unique=False)
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            problems += [f"{name}: {message}" for message in messages]
    team = line.values.get("team", "")
    if team and team not in known.teams:
        problems.append(_("no such team: %(name)s") % {"name": team})
    role = line.values.get("role", "")
    if role and role not in known.roles:
        problems.append(_("no such role: %(name)s") % {"name": role})
    return problems


def make_user(line: UserLine) -> User:
    """Return the user of a line, not written yet; a role makes a member of staff."""
    values = {name: line.values.get(name, "") for name in COLUMNS[:4]}
    return User(**values, is_staff=bool(line.values.get("role")))


@transaction.atomic
def create_users(lines: Sequence[UserLine]) -> int:
    """Create the users of the lines without problems, who cannot log in yet; return how many."""
    known = load_known_rows(lines)
    count = 0
    for line in lines:
        if line.problems or line.username in known.usernames:
            continue
        user = make_user(line)
        user.set_unusable_password()
        user.save()
        if team := line.values.get("team"):
            TeamMember.objects.create(user=user, team=known.teams[team])
        if role := line.values.get("role"):
            user.groups.add(known.roles[role])
        count += 1
    return count
