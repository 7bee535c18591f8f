"""The values of limits are checked by functions whose sentences the commands use too.

Nothing changes in the database. The triggers that `api/limit_triggers.py` describes are dropped on
SQLite: on the way back earlier migrations make or drop the tables that they name. They are made
again after each `migrate`. A later migration that makes one of the tables api_apikey,
api_limitset, api_teammember or api_team anew must do the same at its beginning and its end.
"""

import api.limits.limit_values
from django.db import migrations, models


TRIGGERS = [
    f'proxysite_touch_{table}_{event}'
    for table in ('api_limitset', 'api_teammember', 'api_team')
    for event in ('insert', 'update', 'delete')
]


def drop_limit_triggers(apps, schema_editor):
    if schema_editor.connection.vendor == 'sqlite':
        for name in TRIGGERS:
            schema_editor.execute(f'DROP TRIGGER IF EXISTS {name}')


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0018_usage_hour_totals'),
    ]

    operations = [
        migrations.RunPython(drop_limit_triggers, drop_limit_triggers),
        migrations.AlterField(
            model_name='limitset',
            name='concurrent_requests',
            field=models.BigIntegerField(blank=True, help_text='Running at the same time, for example 4.', null=True, validators=[api.limits.limit_values.validate_count]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='day_budget_usd',
            field=models.DecimalField(blank=True, decimal_places=6, help_text='Spent in a day, in USD, for example 5.', max_digits=14, null=True, validators=[api.limits.limit_values.validate_budget]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='month_budget_usd',
            field=models.DecimalField(blank=True, decimal_places=6, help_text='Spent in a month, in USD, for example 50.', max_digits=14, null=True, validators=[api.limits.limit_values.validate_budget]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='notifies_owner',
            field=models.BooleanField(default=False, help_text='On: alerts about these limits also go by e-mail to the user; of a team to the members who are staff.', verbose_name='notifies the owner'),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='raise_usd',
            field=models.DecimalField(blank=True, decimal_places=6, help_text='Each budget is higher by so much until then, for example 2.', max_digits=14, null=True, validators=[api.limits.limit_values.validate_budget]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='requests_per_minute',
            field=models.BigIntegerField(blank=True, help_text='In any 60 seconds, for example 60.', null=True, validators=[api.limits.limit_values.validate_count]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='tokens_per_minute',
            field=models.BigIntegerField(blank=True, help_text='Prompt and completion tokens in any 60 seconds, for example 100000.', null=True, validators=[api.limits.limit_values.validate_count]),
        ),
        migrations.AlterField(
            model_name='limitset',
            name='total_budget_usd',
            field=models.DecimalField(blank=True, decimal_places=6, help_text='Spent altogether, in USD, for example 500.', max_digits=14, null=True, validators=[api.limits.limit_values.validate_budget]),
        ),
        migrations.RunPython(drop_limit_triggers, drop_limit_triggers),
    ]
