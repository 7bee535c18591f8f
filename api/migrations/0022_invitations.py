"""Invitations, and the permission to issue own API keys in the portal; no existing table changes."""

import api.models.api_key
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0021_request_search'),
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='apikey',
            options={'ordering': ['-created_at', '-pk'], 'permissions': [('issue_own_keys', 'Can issue API keys of their own in the portal')], 'verbose_name': 'API key'},
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Who it is for; only staff see it. For example <code>Summer course</code>.', max_length=100)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('prefix', models.CharField(editable=False, max_length=16)),
                ('limits', models.CharField(blank=True, help_text='For example <code>rpm=60,budget=5/day|50/month</code>; empty: none.', max_length=400, verbose_name='limits of each user')),
                ('allowed_models', models.JSONField(blank=True, default=list, help_text='The models that each new user may use, one in a line; empty: every model.', validators=[api.models.api_key.is_list_of_text])),
                ('may_issue_keys', models.BooleanField(default=True, help_text='The new users may issue API keys of their own in the portal.')),
                ('gives_key', models.BooleanField(default=True, help_text='Each new user gets an API key at once, which is shown once.', verbose_name='gives a first key')),
                ('most_uses', models.PositiveIntegerField(default=1, help_text='So many people may use the link, for example 1.', validators=[django.core.validators.MinValueValidator(1)], verbose_name='number of uses')),
                ('use_count', models.PositiveIntegerField(default=0, editable=False, verbose_name='used')),
                ('expires_at', models.DateTimeField(help_text='The link works until then.', verbose_name='expires')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='made by')),
                ('role', models.ForeignKey(blank=True, help_text='Makes the new users members of staff with this role; empty: plain users.', null=True, on_delete=django.db.models.deletion.CASCADE, to='auth.group')),
                ('team', models.ForeignKey(blank=True, help_text='The team of the new users, whose limits they share; empty: none.', null=True, on_delete=django.db.models.deletion.CASCADE, to='api.team')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='InvitationUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('used_at', models.DateTimeField(auto_now_add=True)),
                ('invitation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='uses', to='api.invitation')),
                ('key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='api.apikey')),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='invitation_use', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.CheckConstraint(condition=models.Q(('use_count__lte', models.F('most_uses'))), name='invitation_uses_bounded'),
        ),
    ]
