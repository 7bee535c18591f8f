"""Prices of speech by its characters, and of rerank requests by their search units."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', "0023_top_lists"),
    ]

    operations = [
        migrations.AddField(
            model_name='price',
            name='characters_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million characters that are read aloud, for example 15; empty: unknown.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='characters'),
        ),
        migrations.AddField(
            model_name='price',
            name='search_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per search unit of a rerank request (a query with up to 100 documents); empty: unknown.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='search unit'),
        ),
    ]
