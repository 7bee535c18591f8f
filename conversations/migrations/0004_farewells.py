"""Chats that upstreams still keep, and the triggers that note them (conversations/upstream_chats/chat_triggers.py)."""

import django.db.models.functions.datetime
from django.db import migrations, models

from conversations.upstream_chats import chat_triggers


def create(apps, schema_editor):
    chat_triggers.install(schema_editor.connection)


def drop(apps, schema_editor):
    chat_triggers.drop(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0003_words'),
    ]

    operations = [
        migrations.CreateModel(
            name='Farewell',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token_id', models.UUIDField(editable=False)),
                ('chat_id', models.CharField(editable=False, max_length=200)),
                ('tries', models.PositiveSmallIntegerField(db_default=0, editable=False)),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True, editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.RunPython(create, drop),
    ]
