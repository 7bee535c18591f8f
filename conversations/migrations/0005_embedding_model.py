"""Which model made a document's embeddings, and of which file's text a document was made besides."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0004_farewells"),
    ]

    operations = [
        migrations.AddField(
            model_name="document",
            name="embedding_model",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=255),
        ),
        migrations.AddField(
            model_name="document",
            name="source",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="derived",
                to="conversations.storedfile",
            ),
        ),
    ]
