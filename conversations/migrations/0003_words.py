"""The tables of the index of what is said (conversations/search/full_text_index.py); no model has them."""

from django.db import migrations

from conversations.search import full_text_index


def create(apps, schema_editor):
    full_text_index.create(schema_editor.connection)


def drop(apps, schema_editor):
    full_text_index.drop(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0002_the_log'),
    ]

    operations = [
        migrations.RunPython(create, drop),
    ]
