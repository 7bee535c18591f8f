"""Batches, and the part of a price that their lines cost.

Of existing tables only that of prices changes, which is small.
"""

import api.models.batch
import django.core.validators
import django.db.models.deletion
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0024_prices_of_characters_and_searches'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='price',
            name='batch_factor',
            field=models.DecimalField(db_default=Decimal('1'), decimal_places=4, default=Decimal('1'), help_text='Lines of a batch cost so much of the price, for example 0.5 for half of it.', max_digits=5, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)], verbose_name='batch factor'),
        ),
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', models.CharField(default=api.models.batch.new_batch_id, editable=False, max_length=48, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('validating', 'validating'), ('in_progress', 'in progress'), ('finalizing', 'finalizing'), ('cancelling', 'cancelling'), ('completed', 'completed'), ('failed', 'failed'), ('expired', 'expired'), ('cancelled', 'cancelled')], default='validating', max_length=16)),
                ('endpoint', models.CharField(help_text='For example /v1/chat/completions.', max_length=64)),
                ('model', models.CharField(blank=True, help_text='The model of all lines; empty: there are several.', max_length=200)),
                ('completion_window', models.CharField(max_length=16)),
                ('input_file_id', models.CharField(max_length=48)),
                ('output_file_id', models.CharField(blank=True, max_length=48)),
                ('error_file_id', models.CharField(blank=True, max_length=48)),
                ('output_seconds', models.PositiveIntegerField(help_text='Seconds after which its output files expire; empty: by default.', null=True)),
                ('metadata', models.JSONField(null=True)),
                ('errors', models.JSONField(default=list, help_text='Why it failed: code, line, message, param.')),
                ('caller_address', models.GenericIPAddressField(help_text='From where it was made; lines are sent as if they came from there.', null=True)),
                ('total_count', models.PositiveIntegerField(default=0)),
                ('completed_count', models.PositiveIntegerField(default=0)),
                ('failed_count', models.PositiveIntegerField(default=0)),
                ('input_tokens', models.BigIntegerField(default=0)),
                ('cached_tokens', models.BigIntegerField(default=0)),
                ('output_tokens', models.BigIntegerField(default=0)),
                ('reasoning_tokens', models.BigIntegerField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(help_text='Lines that have not begun by then are not asked.')),
                ('in_progress_at', models.DateTimeField(null=True)),
                ('finalizing_at', models.DateTimeField(null=True)),
                ('cancelling_at', models.DateTimeField(null=True)),
                ('completed_at', models.DateTimeField(null=True)),
                ('failed_at', models.DateTimeField(null=True)),
                ('expired_at', models.DateTimeField(null=True)),
                ('cancelled_at', models.DateTimeField(null=True)),
                ('running_until', models.DateTimeField(help_text='Until then one process alone works on it.', null=True)),
                ('run_number', models.PositiveIntegerField(default=0, help_text='Counts the processes that took it up; the latest one works on it.')),
                ('progress_id', models.UUIDField(help_text='Its task on the live board.', null=True)),
                ('key', models.ForeignKey(help_text='Its rights and limits are those of every line; empty: it was deleted.', null=True, on_delete=django.db.models.deletion.SET_NULL, to='api.apikey')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='batches', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'batches',
                'ordering': ['-created_at', '-id'],
                'indexes': [models.Index(fields=['user', 'created_at', 'id'], name='batch_user_created'), models.Index(condition=models.Q(('status__in', ['validating', 'in_progress', 'finalizing', 'cancelling'])), fields=['created_at'], name='batch_open')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['validating', 'in_progress', 'finalizing', 'cancelling', 'completed', 'failed', 'expired', 'cancelled'])), name='batch_status_known')],
            },
        ),
    ]
