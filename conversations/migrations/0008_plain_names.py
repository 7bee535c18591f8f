"""Columns and a table get names that say what they hold; all rows stay."""

from django.db import migrations, models

from conversations.upstream_chats import chat_triggers


def drop_chat_triggers(apps, schema_editor):
    """Drop the triggers that name the old table; they are installed again after `migrate`."""
    chat_triggers.drop(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0007_stored_bytes"),
    ]

    operations = [
        migrations.RunPython(drop_chat_triggers, drop_chat_triggers),
        migrations.RenameModel("Farewell", "UpstreamChatDeletion"),
        # conversations
        migrations.RemoveIndex("conversation", "conversation_system"),
        migrations.RenameField("conversation", "base", "base_turn"),
        migrations.RenameField("conversation", "system", "system_turn"),
        migrations.RenameField("conversation", "last", "last_number"),
        migrations.AddIndex(
            "conversation",
            models.Index(
                fields=["system_turn"],
                condition=models.Q(system_turn__isnull=False),
                name="conversation_system",
            ),
        ),
        # turns
        migrations.RemoveIndex("turn", "turn_stored"),
        migrations.RemoveConstraint("turn", "turn_door_known"),
        migrations.RenameField("turn", "door", "endpoint"),
        migrations.RenameField("turn", "extras", "extra_fields"),
        migrations.RenameField("turn", "thought", "thinking"),
        migrations.RenameField("turn", "replaced", "is_replaced"),
        migrations.AddConstraint(
            "turn",
            models.CheckConstraint(
                condition=models.Q(endpoint__in=["chat", "response", "items"]),
                name="turn_endpoint_known",
            ),
        ),
        migrations.AddIndex(
            "turn",
            models.Index(
                fields=["user", "endpoint", "-id"],
                condition=models.Q(stored=True),
                name="turn_stored",
            ),
        ),
        # items and events
        migrations.RenameField("item", "told", "received_digest"),
        migrations.RemoveConstraint("eventbatch", "eventbatch_once"),
        migrations.AlterModelOptions("eventbatch", options={}),
        migrations.RenameField("eventbatch", "first", "first_number"),
        migrations.RenameField("eventbatch", "last", "last_number"),
        migrations.AlterModelOptions("eventbatch", options={"ordering": ["turn", "first_number"]}),
        migrations.AddConstraint(
            "eventbatch",
            models.UniqueConstraint(fields=["turn", "first_number"], name="eventbatch_once"),
        ),
    ]
