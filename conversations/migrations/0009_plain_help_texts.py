"""The help text of a field in plain words; no column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0008_plain_names'),
    ]

    operations = [
        migrations.AlterField(
            model_name='conversation',
            name='idle_seconds',
            field=models.PositiveIntegerField(blank=True, help_text='Deleted after so many seconds without a turn, for example 604800.', null=True),
        ),
    ]
