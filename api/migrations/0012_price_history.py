"""An index tells if usage records name a price, and the checks of a price have their sentences.

On Postgres the index is made without a lock; requests go on meanwhile.
"""

from django.db import migrations, models

import api.pricing.price_values


class AddIndexWithoutLock(migrations.AddIndex):
    """Add an index; on Postgres concurrently, after what an interrupted attempt has left."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != 'postgresql':
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}')
        schema_editor.add_index(model, self.index, concurrently=True)


class Migration(migrations.Migration):

    atomic = False
    dependencies = [('api', '0011_usage_status_validated')]

    operations = [
        migrations.AlterField(
            model_name='price',
            name='tiers',
            field=models.JSONField(blank=True, default=list, help_text='Other prices for long prompts, for example <code>[{"above_prompt_tokens": 200000, "prompt_usd": "2.5"}]</code>.', validators=[api.pricing.price_values.validate_tiers]),
        ),
        AddIndexWithoutLock(
            model_name='usagerecord',
            index=models.Index(condition=models.Q(('price__isnull', False)), fields=['price'], name='usage_price'),
        ),
        migrations.AlterConstraint(
            model_name='price',
            name='price_from_date',
            constraint=models.UniqueConstraint(fields=('provider', 'upstream_model', 'valid_from'), name='price_from_date', violation_error_message='This model already has a price from this moment on.'),
        ),
    ]
