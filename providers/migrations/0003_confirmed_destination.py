"""What a provider's credentials may be sent to: the address that each has today is taken as confirmed."""

from django.db import migrations, models


def confirm_present(apps, schema_editor):
    from providers.network.destination import destination

    database = schema_editor.connection.alias
    for provider in apps.get_model("providers", "Provider").objects.using(database):
        provider.confirmed_destination = destination(provider.kind, provider.base_url)
        provider.save(update_fields=["confirmed_destination"], using=database)


class Migration(migrations.Migration):
    dependencies = [("providers", "0002_tombstone")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="confirmed_destination",
            field=models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="The origin that its tokens may be sent to.",
                max_length=500,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(confirm_present, migrations.RunPython.noop),
    ]
