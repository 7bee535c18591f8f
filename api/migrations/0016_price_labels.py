"""The columns of a price have plain labels."""

import api.pricing.price_values
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0015_limit_leases'),
    ]

    operations = [
        migrations.AlterField(
            model_name='price',
            name='audio_second_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per second of audio; empty: unknown.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='second of audio'),
        ),
        migrations.AlterField(
            model_name='price',
            name='cache_write_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million prompt tokens that are written to its cache; empty: as prompt tokens.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='cache-write tokens'),
        ),
        migrations.AlterField(
            model_name='price',
            name='cached_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million prompt tokens that the upstream had in its cache; empty: as prompt tokens.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='cached tokens'),
        ),
        migrations.AlterField(
            model_name='price',
            name='completion_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million completion tokens, for example 2.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='completion tokens'),
        ),
        migrations.AlterField(
            model_name='price',
            name='image_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per image that is made; empty: unknown.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='image'),
        ),
        migrations.AlterField(
            model_name='price',
            name='prompt_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million prompt tokens, for example 0.25.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='prompt tokens'),
        ),
        migrations.AlterField(
            model_name='price',
            name='reasoning_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per million reasoning tokens; empty: as completion tokens.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='reasoning tokens'),
        ),
        migrations.AlterField(
            model_name='price',
            name='request_usd',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='Per request, beside its tokens; empty: nothing.', max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='request'),
        ),
        migrations.AlterField(
            model_name='price',
            name='tiers',
            field=models.JSONField(blank=True, default=list, help_text='Other prices for all tokens of a call with a long prompt, for example <code>[{"above_prompt_tokens": 200000, "prompt_usd": "2.5"}]</code>.', validators=[api.pricing.price_values.validate_tiers]),
        ),
    ]
