"""A column for thinking that only its upstream gets back; it may be null, so no row changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0009_plain_help_texts'),
    ]

    operations = [
        migrations.AddField(
            model_name='item',
            name='hidden_thinking',
            field=models.TextField(editable=False, null=True),
        ),
    ]
