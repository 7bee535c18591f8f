"""The tables of the index of what is said (conversations/words.py); no model has them."""

from django.db import migrations

from conversations import words


def create(apps, schema_editor):
    words.create(schema_editor.connection)


def drop(apps, schema_editor):
    words.drop(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0002_the_log'),
    ]

    operations = [
        migrations.RunPython(create, drop),
    ]
