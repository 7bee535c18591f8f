"""A key may have a default model, and imports from the environment are remembered.

SQLite adds the column by making the table anew, which a trigger of the users' table that names it
prevents. The trigger is made again after each `migrate`.
"""

from django.db import migrations, models


def drop_user_trigger(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS proxysite_user_switched")


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0007_remembers_sessions'),
    ]

    operations = [
        migrations.RunPython(drop_user_trigger, drop_user_trigger),
        migrations.CreateModel(
            name='EnvironmentImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Of the variable.', max_length=64, unique=True)),
                ('digests', models.JSONField(default=list, help_text='Keyed digests of the imported values.')),
            ],
        ),
        migrations.AddField(
            model_name='apikey',
            name='default_model',
            field=models.CharField(blank=True, default='', help_text='Answers requests that name no model, for example <code>echo</code>; empty: they are refused.', max_length=200),
        ),
        migrations.RunPython(drop_user_trigger, drop_user_trigger),
    ]
