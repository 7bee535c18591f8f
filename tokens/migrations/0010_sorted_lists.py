"""Indexes to sort the list of tokens by failures and by last use.

The index of the last use has tokens that were never used at the end of a descending order, as the
list wants it. SQLite does so by itself, Postgres has to be told, so the index is written in SQL.
"""

from django.db import migrations, models

LAST_USED_INDEX = 'CREATE INDEX token_last_used ON tokens_upstreamtoken (last_used_at DESC{}, id DESC)'
NULLS = {'postgresql': ' NULLS LAST'}


def create_last_used_index(apps, schema_editor):
    schema_editor.execute(LAST_USED_INDEX.format(NULLS.get(schema_editor.connection.vendor, '')))


def drop_last_used_index(apps, schema_editor):
    schema_editor.execute('DROP INDEX token_last_used')


class Migration(migrations.Migration):

    dependencies = [
        ('tokens', '0009_token_check'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='upstreamtoken',
            index=models.Index(fields=['failures', 'id'], name='token_failures'),
        ),
        migrations.RunPython(create_last_used_index, drop_last_used_index),
    ]
