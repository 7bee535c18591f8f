"""The column of how an upstream sends thinking gets a name that says so; all rows stay."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0005_plain_help_texts"),
    ]

    operations = [
        migrations.RemoveConstraint("chatmodel", "chatmodel_thinks_known"),
        migrations.RenameField("chatmodel", "thinks", "thinking_format"),
        migrations.AddConstraint(
            "chatmodel",
            models.CheckConstraint(
                condition=models.Q(thinking_format__in=["separate", "tagged", "implied"]),
                name="chatmodel_thinking_format_known",
            ),
        ),
    ]
