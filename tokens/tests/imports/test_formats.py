"""Files of other programs, in the shapes that these write, are found by their content."""

import json
from typing import Any

import pytest

from providers import vault
from providers.models import Provider
from tokens.imports import token_import
from tokens.imports.text_decoding import decode_text_file
from tokens.imports.token_import import (
    KNOWN,
    MALFORMED,
    NEW,
    OTHER_PROVIDER,
    TWICE_IN_FILE,
    ImportReport,
    parse_lines,
)
from tokens.models import UpstreamAccount, UpstreamToken

FIRST, SECOND, THIRD, FOURTH = (f"sk-made-up-{number}-0123456789abcdef" for number in range(4))


@pytest.fixture
def provider(db: None) -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://api.acme.example/v1"
    )


def run(provider: Provider, text: str, format_name: str) -> ImportReport:
    lines = decode_text_file(text.encode())
    assert parse_lines(lines).format == format_name
    return token_import.import_lines(provider, lines)


def list_secrets(provider: Provider) -> list[str]:
    return sorted(
        vault.decrypt_secret(row.sealed, str(row.pk)) for row in provider.tokens.exclude(sealed="")
    )


# --- gpt-load -------------------------------------------------------------------------------------
def test_gpt_loads_export_of_a_group_is_a_key_per_line(provider: Provider) -> None:
    report = run(provider, f"{FIRST}\n{SECOND}\n", "lines")
    assert report.verdict_counts == {NEW: 2}


def test_gpt_loads_list_of_keys(provider: Provider) -> None:
    items = [
        {"id": 1, "key_value": FIRST, "notes": "of June", "group_id": 1, "status": "active"},
        {"id": 2, "key_value": SECOND, "notes": "", "group_id": 1, "status": "invalid"},
    ]
    answer = {"code": 0, "message": "ok", "data": {"items": items, "pagination": {"page": 1}}}
    assert run(provider, json.dumps(answer), "json").verdict_counts == {NEW: 2}
    assert list(provider.tokens.order_by("label").values_list("label", flat=True)) == [
        "",
        "of June",
    ]


# --- one-api and new-api --------------------------------------------------------------------------
CHANNELS = [
    {"id": 1, "type": 8, "name": "acme", "key": f"{FIRST}\n{SECOND}\n", "models": "a,b"}
    | {"base_url": "https://api.acme.example", "group": "default", "status": 1},
    {"id": 2, "type": 14, "key": "sk-ant-made-up-0123456789", "base_url": "", "name": "claude"},
    {"id": 3, "type": 1, "key": THIRD, "base_url": "https://API.acme.example/", "weight": 0},
    {"id": 4, "type": 8, "key": "", "base_url": "https://api.acme.example"},
]


@pytest.mark.parametrize(
    "content",
    [
        CHANNELS,
        {"success": True, "message": "", "data": CHANNELS},
        {"success": True, "data": {"items": CHANNELS, "total": 4, "type_counts": {"1": 4}}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_channels_of_one_api_and_new_api(
    provider: Provider, content: Any, indent: int | None
) -> None:
    report = run(provider, json.dumps(content, indent=indent), "json")
    assert [(one.line, one.verdict, one.reason) for one in report.verdicts] == [
        (1, NEW, ""),
        (1, NEW, ""),
        (2, OTHER_PROVIDER, "api.anthropic.com"),
        (3, NEW, ""),
        (4, MALFORMED, "is JSON without a token or an account"),
    ]
    assert list_secrets(provider) == [FIRST, SECOND, THIRD]
    assert provider.tokens.filter(label="acme").count() == 2


def test_a_table_of_channels_with_several_keys_in_a_cell(provider: Provider) -> None:
    table = (
        "id,type,key,name,base_url,models\r\n"
        f'1,8,"{FIRST}\r\n{SECOND}",acme,https://api.acme.example,"a,b"\r\n'
        f"2,14,sk-ant-made-up-0123456789,claude,,c\r\n"
        f"3,8,,empty,https://api.acme.example,d\r\n"
    )
    report = run(provider, table, "table")
    assert report.verdict_counts == {NEW: 2, OTHER_PROVIDER: 1, MALFORMED: 1}
    assert report.skipped_lines == 1
    assert list_secrets(provider) == [FIRST, SECOND]


# --- LiteLLM --------------------------------------------------------------------------------------
LITELLM = f"""
model_list:
  - model_name: acme-large
    litellm_params:
      model: openai/acme-large
      api_base: https://api.acme.example/v1 # ours
      api_key: "{FIRST}"
      rpm: 6
  - model_name: acme-large
    litellm_params: {{api_base: "https://api.acme.example/v1", api_key: {FIRST}}}
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet
      api_key: sk-ant-made-up-0123456789
  - model_name: azure
    litellm_params:
      model: azure/gpt
      api_base: https://june:secret@june.openai.azure.com/
      api_key: {SECOND}
  - model_name: hidden
    litellm_params:
      model: openai/x
      api_key: os.environ/ACME_API_KEY
  - model_name: local
    litellm_params:
      model: ollama/x
litellm_settings:
  drop_params: True
general_settings:
  master_key: sk-1234567890 # of its callers
  database_url: "postgresql://user:password@host:5432/litellm"
"""


def test_litellms_config_tells_the_keys_of_other_providers_apart(provider: Provider) -> None:
    report = run(provider, LITELLM, "yaml")
    assert [(one.verdict, one.reason) for one in report.verdicts] == [
        (NEW, ""),
        (TWICE_IN_FILE, ""),
        (OTHER_PROVIDER, "api.anthropic.com"),
        (OTHER_PROVIDER, "june.openai.azure.com"),
        (MALFORMED, "names a variable of the environment instead of a key"),
        (MALFORMED, "is JSON without a token or an account"),
    ]
    assert list_secrets(provider) == [FIRST]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "a: &a [x, x]\nmodel_list:\n- *a\n",
            "is YAML with aliases (*name), which are not followed",
        ),
        ("model_list:\n  - {a: [\n", "is no valid YAML in line 3"),
        ("model_list:\n- " + "[" * 99 + "]" * 99, "is YAML with more than 32 levels"),
        (
            "model_list:\n- !!python/object/apply:os.system ['true']\n",
            "is JSON without a token or an account",
        ),
    ],
)
def test_hostile_yaml_is_one_line_with_a_reason(provider: Provider, text: str, reason: str) -> None:
    report = run(provider, text, "yaml")
    assert [(one.verdict, one.reason) for one in report.verdicts] == [(MALFORMED, reason)]


# --- CLIProxyAPI, gemini-balance ------------------------------------------------------------------
def test_cliproxyapis_config_without_the_keys_of_its_callers(provider: Provider) -> None:
    config = f"""
port: 8317
api-keys:
  - "a-key-of-its-callers-1"
gemini-api-key:
  - api-key: "AIzaSy-made-up-01"
    base-url: "https://generativelanguage.googleapis.com"
openai-compatibility:
  - name: "acme"
    base-url: "https://api.acme.example/v1"
    api-key-entries:
      - api-key: "{FIRST}"
      - api-key: "{SECOND}"
        proxy-url: "socks5://proxy.example.com:1080"
"""
    report = run(provider, config, "yaml")
    assert report.verdict_counts == {OTHER_PROVIDER: 1, NEW: 2}
    assert list_secrets(provider) == [FIRST, SECOND]


def test_gemini_balances_settings_without_the_keys_of_its_callers(provider: Provider) -> None:
    env = (
        f'API_KEYS=["{FIRST}","{SECOND}"]\n'
        'ALLOWED_TOKENS=["sk-of-a-caller-0123456789"]\n'
        "AUTH_TOKEN=sk-of-the-administrator\n"
        'SEARCH_MODELS=["gemini-2.0-flash-exp"]\nMAX_FAILURES=3\n'
    )
    report = run(provider, env, "env")
    assert report.verdict_counts == {NEW: 2}
    assert report.skipped_lines == 4
    content = {
        "API_KEYS": [FIRST, THIRD],
        "ALLOWED_TOKENS": ["sk-of-a-caller-0123456789"],
        "SEARCH_MODELS": ["gemini-2.0-flash-exp"],
    }
    assert run(provider, json.dumps(content), "json").verdict_counts == {NEW: 1, KNOWN: 1}


@pytest.mark.parametrize(
    "content", [[FIRST, SECOND], {"keys": [FIRST, SECOND]}, {"data": {"keys": [FIRST, SECOND]}}]
)
def test_plain_lists_of_keys(provider: Provider, content: Any) -> None:
    assert run(provider, json.dumps(content), "json").verdict_counts == {NEW: 2}


# --- variables ------------------------------------------------------------------------------------
def test_variables_give_keys_and_their_addresses(provider: Provider) -> None:
    env = f"""# keys
export ACME_API_KEY='{FIRST}' # June's
ACME_BASE_URL=https://api.acme.example/v1
OPENAI_API_KEYS={SECOND},{THIRD}
ANTHROPIC_API_KEY=sk-ant-made-up-0123456789
OTHER_API_KEY={FOURTH}
OTHER_API_BASE=https://other.example/v1
PORT=8000
DEBUG=true
EMPTY_API_KEY=
"""
    report = run(provider, env, "env")
    assert [(one.line, one.verdict, one.reason) for one in report.verdicts] == [
        (2, NEW, ""),
        (4, NEW, ""),
        (4, NEW, ""),
        (5, OTHER_PROVIDER, "api.anthropic.com"),
        (6, OTHER_PROVIDER, "other.example"),
    ]
    assert report.skipped_lines == 6
    assert list_secrets(provider) == [FIRST, SECOND, THIRD]


# --- cookies --------------------------------------------------------------------------------------
NETSCAPE = (
    "# Netscape HTTP Cookie File\n# https://curl.se/docs/http-cookies.html\n\n"
    f"#HttpOnly_.acme.example\tTRUE\t/\tTRUE\t1999999999\ttoken\t{FIRST}\n"
    ".acme.example\tTRUE\t/\tFALSE\t0\ttheme\tdark\n"
    f".other.example\tTRUE\t/\tTRUE\t0\ttoken\t{SECOND}\n"
    "broken line\n"
)


def test_netscapes_file_of_cookies(provider: Provider) -> None:
    report = run(provider, NETSCAPE, "cookies")
    assert [(one.line, one.verdict) for one in report.verdicts] == [
        (4, NEW),
        (6, OTHER_PROVIDER),
        (7, MALFORMED),
    ]
    row = provider.tokens.get()
    assert row.expires_at is not None
    assert row.expires_at.year == 2033


def test_cookies_of_extensions_and_of_playwright(provider: Provider) -> None:
    cookies = [
        {"domain": ".acme.example", "name": "token", "value": FIRST, "httpOnly": True},
        {"domain": ".acme.example", "name": "theme", "value": "dark"},
        {"domain": "kimi.com", "name": "kimi-auth", "value": SECOND},
    ]
    assert run(provider, json.dumps(cookies), "json").verdict_counts == {NEW: 1, OTHER_PROVIDER: 1}
    storage = [{"name": "refresh_token", "value": THIRD}, {"name": "theme", "value": "dark"}]
    state = {
        "cookies": cookies,
        "origins": [{"origin": "https://chat.acme.example", "localStorage": storage}],
    }
    report = run(provider, json.dumps(state), "json")
    assert report.verdict_counts == {KNOWN: 1, OTHER_PROVIDER: 1, NEW: 1}


def test_a_cookie_header(provider: Provider) -> None:
    run(provider, f"Cookie: theme=dark; kimi-auth={FIRST}; lang=zh\n", "lines")
    assert list_secrets(provider) == [FIRST]


# --- accounts -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "line",
    [
        "june@example.org:pw",
        "june@example.org----pw",
        "june@example.org|pw",
        "june@example.org----pw----help@example.org----eyJhbGciOi.abc.def----9e5f94bc",
        "june@example.org|pw|help@example.org",
        "june@example.org:pw:help@example.org:2026-01-31",
        "june@example.org\tpw\tfree\tGermany",
        "june@example.org,pw,+4915112345678,0123456789abcdef0123",
        "june@example.org;pw;https://example.org/x",
    ],
)
def test_further_columns_of_an_account_are_no_part_of_its_password(
    provider: Provider, line: str
) -> None:
    Provider.objects.filter(pk=provider.pk).update(kind="k2think_web")
    provider.refresh_from_db()
    assert run(provider, line, "lines").verdict_counts == {NEW: 1}
    row = UpstreamAccount.objects.get()
    assert row.email == "june@example.org"
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == "pw"


@pytest.mark.parametrize("password", ["p:w", "p,w", "p|w|x", "a:b:c", "p;w;"])
def test_a_password_keeps_its_own_separators(provider: Provider, password: str) -> None:
    Provider.objects.filter(pk=provider.pk).update(kind="k2think_web")
    provider.refresh_from_db()
    separator = next(sign for sign in ":,|;" if sign in password)
    run(provider, f"june@example.org{separator}{password}", "lines")
    row = UpstreamAccount.objects.get()
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == password


def test_a_table_of_accounts(provider: Provider) -> None:
    Provider.objects.filter(pk=provider.pk).update(kind="k2think_web")
    provider.refresh_from_db()
    report = run(provider, "E-Mail;Password;Note\njune@example.org;=a;b\n;x;\n", "table")
    assert report.verdict_counts == {NEW: 1, MALFORMED: 1}
    assert UpstreamToken.objects.get().masked == "ju…@example.org"


# --- encodings ------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end(provider: Provider, encoding: str, end: str) -> None:
    note = {"latin-1": "Schlüssel für Köln"}.get(encoding, "账号 一")
    data = end.join([f"# {note}", FIRST, SECOND, ""]).encode(encoding)
    report = token_import.import_lines(provider, decode_text_file(data))
    assert report.verdict_counts == {NEW: 2}
    assert report.skipped_lines == 1
