"""Add what databases lack that were made by an earlier text of 0002: two columns; and take away a constraint it had.

Databases that have all of it are left as they are.
"""

from django.db import migrations

MISSING = (("Turn", "replaced"), ("Item", "told"))


def add_missing_columns(apps, schema_editor):
    connection = schema_editor.connection
    for model_name, field_name in MISSING:
        model = apps.get_model("conversations", model_name)
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, model._meta.db_table)
        if field_name not in {column.name for column in columns}:
            schema_editor.add_field(model, model._meta.get_field(field_name))


def drop_user_constraint(apps, schema_editor):
    """A turn goes with its conversation: a constraint to its user would look through all turns for each user that is
    deleted. SQLite's went with the rebuilt table.
    """
    if schema_editor.connection.vendor != "postgresql":
        return
    turn = apps.get_model("conversations", "Turn")
    for name in schema_editor._constraint_names(turn, ["user_id"], foreign_key=True):
        schema_editor.execute(schema_editor._delete_fk_sql(turn, name))


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0005_embedding_model"),
    ]

    operations = [
        migrations.RunPython(add_missing_columns, migrations.RunPython.noop),
        migrations.RunPython(drop_user_constraint, migrations.RunPython.noop),
    ]
