"""What the admin leaves out: schedules that nobody here needs."""

from django.contrib import admin
from django_celery_beat.models import ClockedSchedule, SolarSchedule

admin.site.unregister([ClockedSchedule, SolarSchedule])
