"""The page of an MCP server: its headers are sealed, and lost at another host."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.urls import reverse

from providers.models import McpServer

ADD = "admin:providers_mcpserver_add"
CHANGE = "admin:providers_mcpserver_change"
FIELDS = {
    "label": "docs",
    "url": "https://mcp.example.com/mcp",
    "enabled": "on",
    "allowed_tools": "[]",
    "headers": '{"Authorization": "Bearer very-secret"}',
}


@pytest.fixture
def server(admin_client, transactional_db):
    answer = admin_client.post(reverse(ADD), FIELDS)
    assert answer.status_code == 302, answer.content.decode()
    return McpServer.objects.get()


def change(client, server, **fields):
    page = reverse(CHANGE, args=[server.pk])
    return client.post(page, FIELDS | {"headers": ""} | fields)


def test_headers_are_sealed_and_never_shown(admin_client, server):
    assert server.read_headers() == {"Authorization": "Bearer very-secret"}
    assert "very-secret" not in server.sealed_headers
    page = admin_client.get(reverse(CHANGE, args=[server.pk])).content.decode()
    assert "very-secret" not in page
    assert "Authorization" in page


def test_headers_stay_at_their_host_and_are_lost_at_another(admin_client, server):
    change(admin_client, server, url="https://mcp.example.com/other")
    server.refresh_from_db()
    assert server.read_headers() == {"Authorization": "Bearer very-secret"}
    change(admin_client, server, url="https://thief.example.com/mcp")
    server.refresh_from_db()
    assert server.read_headers() == {}


def test_headers_are_removed_by_an_empty_object(admin_client, server):
    change(admin_client, server, headers="{}")
    server.refresh_from_db()
    assert server.sealed_headers == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "http://127.0.0.1/mcp"),
        ("url", "https://user@mcp.example.com/mcp"),
        ("headers", "no object"),
        ("headers", '{"Mcp-Session-Id": "1"}'),
        ("headers", '{"Host": "other"}'),
        ("allowed_tools", '{"a": 1}'),
        ("label", "two words"),
        ("answer_bytes", "10"),
    ],
)
def test_wrong_values_are_said_beside_their_field(admin_client, server, field, value):
    answer = change(admin_client, server, **{field: value})
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors


def test_only_a_superuser_opens_the_gateways_own_network(client, server):
    operator = User.objects.create_user("operator", is_staff=True)
    names = ("view_mcpserver", "change_mcpserver")
    operator.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(operator)
    change(client, server, allow_private="on")
    server.refresh_from_db()
    assert not server.allow_private
    McpServer.objects.update(allow_private=True)
    answer = change(client, server, url="http://10.0.0.1/mcp")
    assert "url" in answer.context["adminform"].form.errors


def test_headers_of_the_protocol_cannot_be_sealed():
    with pytest.raises(ValidationError):
        McpServer(label="a", url="https://a.example").seal_headers({"Mcp-Method": "x"})
