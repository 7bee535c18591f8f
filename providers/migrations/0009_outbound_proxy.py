"""A provider may be reached through a proxy, whose password is sealed."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0008_long_prompts'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='proxy_url',
            field=models.CharField(blank=True, default='', help_text='For example <code>http://june@proxy.example:8080</code> or <code>socks5://127.0.0.1:1080</code>; a password is taken out and sealed. <code>direct</code>: none; empty: the setting PROXY_URL.', max_length=500, verbose_name='proxy'),
        ),
        migrations.AddField(
            model_name='provider',
            name='sealed_proxy_password',
            field=models.TextField(blank=True, default='', editable=False),
        ),
    ]
