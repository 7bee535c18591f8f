"""A model says what is done with a prompt longer than its context window."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0007_dialect"),
    ]

    operations = [
        migrations.AddField(
            model_name="chatmodel",
            name="long_prompts",
            field=models.CharField(
                blank=True,
                choices=[
                    ("fit", "fit: excerpts in place of long texts"),
                    ("refuse", "refuse: 400 context_length_exceeded"),
                ],
                help_text="Prompts longer than the context window; empty: long texts are fitted, but the system prompt of a request that offers tools is not.",
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="chatmodel",
            constraint=models.CheckConstraint(
                condition=models.Q(("long_prompts__in", ["", "fit", "refuse"])),
                name="chatmodel_long_prompts_known",
            ),
        ),
    ]
