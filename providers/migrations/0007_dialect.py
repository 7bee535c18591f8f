"""A provider names its dialect, and what else is different about it."""

import providers.models.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0006_thinking_format'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='dialect',
            field=models.CharField(blank=True, help_text='How it differs from OpenAI, for example <code>mistral</code>; empty: found by its kind and address.', max_length=32, validators=[providers.models.validators.dialect_exists]),
        ),
        migrations.AddField(
            model_name='provider',
            name='dialect_changes',
            field=models.JSONField(blank=True, default=dict, help_text='What else is different, for example <code>{"limit_field": "max_tokens"}</code>; the fields are listed in <code>docs/dialects.md</code>.', validators=[providers.models.validators.dialect_changes_fit]),
        ),
    ]
