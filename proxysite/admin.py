"""The pages of people, sessions and the audit log; parts of other packages that we replace.

The schedules of django-celery-beat that nothing here uses are removed.
"""

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django_celery_beat.models import ClockedSchedule, SolarSchedule

admin.site.unregister([ClockedSchedule, SolarSchedule, User, Group])

from proxysite.audit import audit_admin  # noqa: E402, F401 - each registers its pages
from proxysite.desk import periodic_task_admin  # noqa: E402
from proxysite.people import axes_admin, person_admin, role_admin, session_admin  # noqa: E402, F401

axes_admin.make_read_only()
periodic_task_admin.replace_stock_admin()
