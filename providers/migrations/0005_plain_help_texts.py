"""The help texts of two fields in plain words; no column changes."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0004_deletion'),
    ]

    operations = [
        migrations.AlterField(
            model_name='virtualmodel',
            name='base',
            field=models.CharField(help_text='The model that is called, for example <code>kimi-k2</code>.', max_length=200, validators=[django.core.validators.RegexValidator('\\A[^\\s\\x00-\\x1f\\x7f]+\\Z', 'A model id has no spaces or control characters.')]),
        ),
        migrations.AlterField(
            model_name='virtualmodel',
            name='strategy',
            field=models.CharField(help_text='How an answer is made, for example <code>stepwise</code>.', max_length=64),
        ),
    ]
