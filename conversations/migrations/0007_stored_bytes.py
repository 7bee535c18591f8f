"""How many bytes each turn's contents take."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("conversations", "0006_missing_columns"),
    ]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="stored_bytes",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddIndex(
            model_name="turn",
            index=models.Index(fields=["user", "stored_bytes"], name="turn_stored_bytes"),
        ),
    ]
