"""The outputs of batches are files too.

No trigger names the table, so SQLite can make it anew.
"""

from django.db import migrations, models

PURPOSES = [
    ("user_data", "user data"),
    ("assistants", "assistants"),
    ("vision", "vision"),
    ("batch", "batch"),
    ("batch_output", "batch output"),
    ("fine-tune", "fine-tune"),
    ("evals", "evals"),
    ("file-extract", "file extract"),
]


class Migration(migrations.Migration):
    dependencies = [("conversations", "0013_uploads")]

    operations = [
        migrations.RemoveConstraint("storedfile", "storedfile_purpose_known"),
        migrations.AlterField(
            "storedfile",
            "purpose",
            models.CharField(choices=PURPOSES, editable=False, max_length=16),
        ),
        migrations.AddConstraint(
            "storedfile",
            models.CheckConstraint(
                condition=models.Q(purpose__in=[value for value, _ in PURPOSES]),
                name="storedfile_purpose_known",
            ),
        ),
    ]
