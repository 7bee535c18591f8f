"""The help text of a field in plain words; no column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0005_usage_keeps_its_references'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apikey',
            name='stores_content',
            field=models.BooleanField(default=True, help_text='Off: no content of its requests is stored: no conversations, no files.', verbose_name='stores content'),
        ),
    ]
