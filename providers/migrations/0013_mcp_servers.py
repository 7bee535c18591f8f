"""A model names the tools that the gateway runs; MCP servers have rows."""

import django.core.validators
import providers.models.mcp_server
import providers.models.validators
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0012_max_output_tokens"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="chatmodel",
            name="server_tools",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='Tools that the gateway runs, for example <code>["web_search", "mcp"]</code>; empty: those of the setting SERVER_TOOLS; <code>["none"]</code>: none.',
                validators=[providers.models.validators.server_tools_exist],
            ),
        ),
        migrations.CreateModel(
            name="McpServer",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "label",
                    models.CharField(
                        help_text="What requests write as <code>server_label</code>, for example <code>docs</code>.",
                        max_length=64,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\\Z",
                                "Letters, digits, hyphen and underscore only.",
                            )
                        ],
                    ),
                ),
                (
                    "url",
                    models.CharField(
                        help_text="The address of its streamable HTTP, for example <code>https://mcp.example.com/mcp</code>.",
                        max_length=500,
                        unique=True,
                        verbose_name="URL",
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "allow_private",
                    models.BooleanField(
                        default=False,
                        help_text="Allow an address on this machine or network, and plain http.",
                    ),
                ),
                ("sealed_headers", models.TextField(blank=True, default="", editable=False)),
                (
                    "takes_caller_headers",
                    models.BooleanField(
                        default=False,
                        help_text="Send it <code>authorization</code> and <code>headers</code> of a request.",
                    ),
                ),
                (
                    "allowed_tools",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Names of tools that may be called, for example <code>["search"]</code>; empty: all.',
                        validators=[providers.models.mcp_server.names_are_texts],
                    ),
                ),
                (
                    "needs_approval",
                    models.BooleanField(
                        default=False,
                        help_text="Each call needs the approval of the caller, whatever the request says.",
                    ),
                ),
                (
                    "for_everybody",
                    models.BooleanField(
                        default=False,
                        help_text="Every API key may use it; off: those of the users below.",
                    ),
                ),
                (
                    "call_seconds",
                    models.FloatField(
                        blank=True,
                        help_text="One call may take so long; empty: the setting MCP_CALL_SECONDS.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0.1)],
                    ),
                ),
                (
                    "answer_bytes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Largest answer, in bytes; empty: the setting MCP_ANSWER_BYTES.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1024)],
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "users",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Users whose API keys may use it.",
                        related_name="mcp_servers",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "MCP server",
                "ordering": ["label"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("call_seconds", None), ("call_seconds__gt", 0), _connector="OR"
                        ),
                        name="mcpserver_call_seconds_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("answer_bytes", None), ("answer_bytes__gte", 1024), _connector="OR"
                        ),
                        name="mcpserver_answer_bytes_enough",
                    ),
                ],
            },
        ),
    ]
