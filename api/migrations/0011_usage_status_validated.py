"""Postgres looks at the rows of the status constraint; requests go on meanwhile."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def validate_status_constraint(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE api_usagerecord VALIDATE CONSTRAINT usage_status_known")


class Migration(migrations.Migration):
    dependencies = [("api", "0010_limits_prices_and_teams")]

    operations = [
        migrations.RunPython(validate_status_constraint, migrations.RunPython.noop),
    ]
