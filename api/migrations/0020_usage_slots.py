from django.db import migrations, models

from api.usage.rollup_triggers import list_rollup_triggers
from providers.database.triggers import drop_triggers


def note_records_without_slots(apps, schema_editor):
    """Note that there are records without slots; a periodic task adds these."""
    alias = schema_editor.connection.alias
    if apps.get_model('api', 'UsageHour').objects.using(alias).exists():
        states = apps.get_model('api', 'RollupState').objects.using(alias)
        states.update_or_create(id=1, defaults={'needs_rebuild': True})


def leave_room_for_updates(apps, schema_editor):
    """Let Postgres write new versions of a row beside the old ones: the latest are often added to."""
    if schema_editor.connection.vendor == 'postgresql':
        for table in ('api_usageslot', 'api_answertimes'):
            schema_editor.execute(
                f'ALTER TABLE {table} SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02)'
            )


def drop_rollup_triggers(apps, schema_editor):
    """Drop the triggers, which write to the tables that go."""
    for trigger_set in list_rollup_triggers():
        drop_triggers(schema_editor.connection, trigger_set)


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0019_limit_validators'),
    ]

    operations = [
        migrations.CreateModel(
            name='AnswerTimes',
            fields=[
                ('slot', models.DateTimeField(help_text='When the hour begins, UTC.')),
                ('measure', models.CharField(help_text='For example <code>first_byte</code>.', max_length=12)),
                ('bucket', models.PositiveSmallIntegerField()),
                ('shard', models.PositiveSmallIntegerField()),
                ('requests', models.BigIntegerField()),
                ('pk', models.CompositePrimaryKey('slot', 'measure', 'bucket', 'shard', blank=True, editable=False, primary_key=True, serialize=False)),
            ],
        ),
        migrations.CreateModel(
            name='UsageSlot',
            fields=[
                ('status', models.CharField(max_length=16)),
                ('requests', models.BigIntegerField()),
                ('prompt_tokens', models.BigIntegerField()),
                ('completion_tokens', models.BigIntegerField()),
                ('reasoning_tokens', models.BigIntegerField()),
                ('cached_tokens', models.BigIntegerField()),
                ('cache_write_tokens', models.BigIntegerField()),
                ('cost_micro_usd', models.BigIntegerField(help_text='In millionths of a USD.')),
                ('unknown_cost_requests', models.BigIntegerField(help_text='Requests whose cost is unknown; those that a limit refused are not among them.')),
                ('slot', models.DateTimeField(help_text='When the five minutes begin, UTC.')),
                ('origin', models.CharField(help_text='Who caused the errors; empty for requests without an error.', max_length=8)),
                ('shard', models.PositiveSmallIntegerField()),
                ('pk', models.CompositePrimaryKey('slot', 'status', 'origin', 'shard', blank=True, editable=False, primary_key=True, serialize=False)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.RunPython(note_records_without_slots, migrations.RunPython.noop),
        migrations.RunPython(leave_room_for_updates, drop_rollup_triggers),
    ]
