"""A key says whether a `session_id` names a conversation.

Keys that exist keep what they had: their sessions are remembered. New keys have to ask for it.

SQLite adds the column by making the table anew, which a trigger of the users' table that names it
prevents. The trigger is made again after each `migrate`.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

HELP_TEXT = (
    "On: requests with the same <code>session_id</code>, for example <code>holidays</code>, are "
    "one conversation. Off: they only share an upstream token."
)


def drop_user_trigger(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS proxysite_user_switched")


def make_field(*, default: bool) -> models.BooleanField:
    return models.BooleanField(
        default=default, help_text=HELP_TEXT, verbose_name="remembers sessions"
    )


class Migration(migrations.Migration):
    dependencies = [("api", "0006_plain_help_texts")]

    operations = [
        migrations.RunPython(drop_user_trigger, drop_user_trigger),
        migrations.AddField("apikey", "remembers_sessions", make_field(default=True)),
        migrations.AlterField("apikey", "remembers_sessions", make_field(default=False)),
        migrations.RunPython(drop_user_trigger, drop_user_trigger),
    ]
