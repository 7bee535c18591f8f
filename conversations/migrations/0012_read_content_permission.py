"""Reading what conversations contain needs a permission of its own, beside that for viewing them.

Nothing changes in the tables. Who could view conversations before this release could read them, so
users and groups with that permission get the new one.
"""

from django.db import migrations

VIEW = "view_conversation"
READ = "read_content"
READ_NAME = "Can read the content of conversations"


def grant_reading(apps, schema_editor):
    """Give the new permission to all who have the old one. Writes nothing on a new database."""
    # the database of this migration: a copy migrates its target beside the default one
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    view = permissions.filter(
        codename=VIEW, content_type__app_label="conversations"
    ).first()
    if view is None:
        return
    read, _ = permissions.get_or_create(
        codename=READ, content_type=view.content_type, defaults={"name": READ_NAME}
    )
    for group in view.group_set.all():
        group.permissions.add(read)
    for user in view.user_set.all():
        user.user_permissions.add(read)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("conversations", "0011_file_purposes"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="conversation",
            options={
                "ordering": ["-used_at", "-id"],
                "permissions": [(READ, READ_NAME)],
            },
        ),
        migrations.RunPython(grant_reading, migrations.RunPython.noop),
    ]
