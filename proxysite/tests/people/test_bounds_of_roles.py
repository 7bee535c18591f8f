"""Ways round the bounds of a role: the own password, periodic tasks, and secrets in logs."""

from datetime import timedelta

import pytest
from axes.models import AccessLog
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from api.invitations.invitation_links import give_secret, make_link_path
from api.models import Invitation
from proxysite.people import roles

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
OTHER_PASSWORD = "another horse battery"
TASKS = "/admin/django_celery_beat/periodictask/"


@pytest.fixture
def june(client: Client) -> User:
    roles.update_roles()
    user = User.objects.create_user("june", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(user)
    return user


@pytest.fixture
def task() -> PeriodicTask:
    every_hour = IntervalSchedule.objects.create(every=1, period="hours")
    return PeriodicTask.objects.create(name="expiry", task="api.tasks.expire", interval=every_hour)


# --- the own password -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["{}", "0{}"])
def test_the_own_password_is_not_changed_without_the_old_one(
    client: Client, june: User, name: str
) -> None:
    posted = {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD, "usable_password": "true"}
    answer = client.post(f"/admin/auth/user/{name.format(june.pk)}/password/", posted)
    assert answer.headers["location"] == "/admin/password_change/"
    june.refresh_from_db()
    assert june.check_password(PASSWORD)


def test_the_password_of_another_user_can_be_set(client: Client, june: User) -> None:
    alice = User.objects.create_user("alice")
    posted = {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD, "usable_password": "true"}
    client.post(f"/admin/auth/user/{alice.pk}/password/", posted)
    alice.refresh_from_db()
    assert alice.check_password(OTHER_PASSWORD)


# --- periodic tasks -------------------------------------------------------------------------------
def read_fields(row: PeriodicTask, /, **values: object) -> dict[str, object]:
    times = {"start_time_0": "", "start_time_1": "", "crontab": "", "interval": row.interval_id}
    return times | {"name": row.name, "task": row.task, "args": "[]", "kwargs": "{}"} | values


def test_an_administrator_chooses_when_a_task_runs_and_not_what(
    client: Client, june: User, task: PeriodicTask
) -> None:
    arguments = '["root@example.org", "evil.example", true, "en"]'
    reset = "api.tasks.send_password_reset"
    posted = read_fields(task, task=reset, regtask=reset, args=arguments, name="mine")
    assert client.post(f"{TASKS}{task.pk}/change/", posted).status_code == 302
    task.refresh_from_db()
    assert (task.name, task.task, task.args) == ("expiry", "api.tasks.expire", "[]")
    assert not task.enabled
    assert client.get(f"{TASKS}add/").status_code == 403
    assert client.post(f"{TASKS}add/", posted).status_code == 403


def test_a_superuser_chooses_both(admin_client: Client, task: PeriodicTask) -> None:
    posted = read_fields(task, args='["x"]', headers="{}", enabled="on")
    assert admin_client.post(f"{TASKS}{task.pk}/change/", posted).status_code == 302
    task.refresh_from_db()
    assert task.args == '["x"]'


def test_who_only_views_tasks_runs_none(client: Client, june: User, task: PeriodicTask) -> None:
    june.groups.get().permissions.remove(
        *june.groups.get().permissions.filter(codename="change_periodictask")
    )
    posted = {"action": "disable_tasks", "_selected_action": task.pk}
    client.post(TASKS, posted)
    task.refresh_from_db()
    assert task.enabled


# --- secrets in logs ------------------------------------------------------------------------------
def test_the_log_of_logins_keeps_no_link_of_an_invitation(client: Client) -> None:
    row = Invitation(name="course", expires_at=timezone.now() + timedelta(days=1))
    row.most_uses = 30
    link = make_link_path(give_secret(row))
    row.save()
    posted = {"username": "carol", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(link, posted).status_code == 200
    (logged,) = AccessLog.objects.all()
    assert logged.path_info == "/portal/join/…"
