"""The forms in which people and programs write tokens and accounts."""

import json
import random
import string
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings

from providers import vault
from providers.models import Provider
from providers.tests.command_runner import run
from tokens.imports import token_import
from tokens.imports.line_parsing import Login, MalformedLine, parse_line
from tokens.imports.token_import import MALFORMED, NEW
from tokens.models import UpstreamAccount, UpstreamToken

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjVmMGMifQ.c2lnbmF0dXJl"
OTHER_JWT = JWT.replace("c2ln", "b3Ro")
JUNE = Login("june@mail.example.cn", "Passw0rd!")
ACCOUNT_LINES = [
    '{"email": "june@mail.example.cn", "k2_password": "Passw0rd!"}',
    '{"email":"june@mail.example.cn","k2_password":"Passw0rd!"}',
    '{"email":"june@mail.example.cn","password":"Passw0rd!"}',
    '{"email":"june@mail.example.cn","password":"of the mailbox","k2_password":"Passw0rd!"},',
    '{"username": "June@Mail.Example.CN", "pwd": "Passw0rd!", "token": "eyJold"}',
    "june@mail.example.cn,Passw0rd!",
    "june@mail.example.cn, Passw0rd!",
    "june@mail.example.cn|Passw0rd!",
    "june@mail.example.cn | Passw0rd!",
    "june@mail.example.cn;Passw0rd!",
    "june@mail.example.cn\tPassw0rd!",
    "june@mail.example.cn:Passw0rd!",
    "june@mail.example.cn: Passw0rd!",
    "june@mail.example.cn----Passw0rd!",
    "june@mail.example.cn ---- Passw0rd!",
    '"june@mail.example.cn","Passw0rd!"',
    '"june@mail.example.cn:Passw0rd!"',
    "'june@mail.example.cn----Passw0rd!'",
    'june@mail.example.cn,"Passw0rd!"',
]
TOKEN_LINES = [
    JWT,
    f'"{JWT}"',
    f"'{JWT}'",
    f"`{JWT}`",
    f'"{JWT}",',
    f"{JWT},",
    f"kimi-auth={JWT}",
    f"kimi-auth={JWT}; Path=/; HttpOnly",
    f"theme=dark; kimi-auth={JWT}; lang=zh",
    f"Cookie: theme=dark; token={JWT}",
    f"Bearer {JWT}",
    f"bearer  {JWT}",
    f"Authorization: Bearer {JWT}",
    f"{JWT} # of June",
    f"Bearer {JWT}\t# of June",
    f"access_token: {JWT}",
    f'export KIMI_TOKENS="{JWT}"',
    f'{{"token": "{JWT}"}}',
    f'{{"access_token":"{JWT}","expires":1}}',
    f'{{"name": "kimi-auth", "value": "{JWT}", "domain": ".kimi.com"}}',
    f'["{JWT}"]',
]


@pytest.mark.parametrize("line", ACCOUNT_LINES)
def test_an_account_is_recognized_in_each_form(line: str) -> None:
    assert parse_line(line) == [JUNE]


@pytest.mark.parametrize("line", TOKEN_LINES)
def test_a_token_is_recognized_in_each_form(line: str) -> None:
    assert parse_line(line) == [JWT]


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("tok1,tok2,tok3", ["tok1", "tok2", "tok3"]),
        (f"{JWT}, {OTHER_JWT},", [JWT, OTHER_JWT]),
        (f'"{JWT}","{OTHER_JWT}"', [JWT, OTHER_JWT]),
        (f"KIMI_TOKENS={JWT},{OTHER_JWT} # two", [JWT, OTHER_JWT]),
        (f'["{JWT}","{OTHER_JWT}"]', [JWT, OTHER_JWT]),
        ("sk-made-up-1,sk-made-up-2", ["sk-made-up-1", "sk-made-up-2"]),
    ],
)
def test_a_line_may_have_several_tokens(line: str, tokens: list[str]) -> None:
    assert parse_line(line) == tokens


@pytest.mark.parametrize("line", ["", "  ", "# note", "[", "]", "[]", '"# note"'])
def test_a_line_may_have_none(line: str) -> None:
    assert parse_line(line) == []


REFUSED = [
    "june,sk-made-up-0001",
    "june@mail.example.cn",
    "june@mail.example.cn:",
    "june@mail.example.cn Passw0rd!",
    "Passw0rd!:june@mail.example.cn",
    "Passw0rd!----june@mail.example.cn",
    "Passw0rd!,june@mail.example.cn",
    "pa@ss.word----june@mail.example.cn",
    "june:Passw0rd!@mail.example.cn",
    '{"email": "june@mail.example.cn", "k2_password": "Passw0rd!"',
    '{"email": "june", "password": "Passw0rd!"}',
    '{"email": "june@mail.example.cn"}',
    '{"email": "june@mail.example.cn", "password": ""}',
    "{'email': 'june@mail.example.cn', 'password': 'Passw0rd!'}",
    '{"a": 1}',
    "[1, 2]",
    "[" * 3_000,
    '{"token": ["x"]}',
    "email,password",
    "email----password",
    "mail|pw",
    '"email","k2_password"',
]


@pytest.mark.parametrize("line", REFUSED)
@pytest.mark.parametrize("kind", ["k2think_web", "openai_compatible"])
def test_no_other_line_becomes_a_token_and_no_verdict_shows_a_password(
    db: None, tmp_path: Path, kind: str, line: str
) -> None:
    provider = Provider.objects.create(name="p", kind=kind, base_url="https://p.example/v1")
    (verdict,) = token_import.import_lines(provider, iter([line])).verdicts
    assert verdict.verdict == MALFORMED
    assert verdict.token == ""
    (tmp_path / "file").write_text(f"# one entry\n{line}")
    for form in ("text", "json"):
        notes = StringIO()
        shown = run("import_tokens", "p", str(tmp_path / "file"), "--format", form, notes=notes)
        shown += notes.getvalue()
        assert "w0rd" not in shown
        assert "ss.w" not in shown
        assert "rd!" not in shown
    assert not UpstreamToken.objects.exists()


@pytest.mark.parametrize("line", ACCOUNT_LINES)
def test_an_account_is_no_token_of_an_upstream_without_sign_in(db: None, line: str) -> None:
    provider = Provider.objects.create(
        name="p", kind="openai_compatible", base_url="https://p.example/v1"
    )
    (verdict,) = token_import.import_lines(provider, [line]).verdicts
    assert (verdict.verdict, verdict.token) == (MALFORMED, "ju…@mail.example.cn")
    assert not UpstreamToken.objects.exists()


def test_each_form_of_an_account_is_the_same_account(db: None) -> None:
    provider = Provider.objects.create(
        name="p", kind="k2think_web", base_url="https://p.example/api"
    )
    report = token_import.import_lines(provider, ACCOUNT_LINES)
    assert report.verdict_counts == {NEW: 1, token_import.TWICE_IN_FILE: len(ACCOUNT_LINES) - 1}
    row = UpstreamAccount.objects.get()
    assert (row.email, vault.decrypt_secret(row.sealed, str(row.pk))) == JUNE


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", [None, "accounts"])
def test_a_file_may_be_one_json_list(db: None, indent: int | None, name: str | None) -> None:
    provider = Provider.objects.create(
        name="p", kind="k2think_web", base_url="https://p.example/api"
    )
    entries = [{"email": f"{name}@mail.example.cn", "k2_password": "x[1]"} for name in "abc"]
    content = json.dumps({name: entries} if name else entries, indent=indent)
    report = token_import.import_lines(provider, content.splitlines())
    assert report.verdict_counts == {NEW: 3}
    assert [verdict.line for verdict in report.verdicts] == [1, 2, 3]


def test_any_text_is_parsed_or_refused() -> None:
    noise = random.Random(7)
    signs = string.printable + '@@@...---:::,,,""\'{}[]#邮箱'
    for _ in range(20_000):
        line = "".join(noise.choices(signs, k=noise.randrange(1, 40)))
        with suppress(MalformedLine):
            assert all(isinstance(entry, (str, Login)) for entry in parse_line(line))


def test_a_long_line_takes_no_long_time() -> None:
    for part in ("a", "@", ".", " #x", "'", '"', '",', "----", "a@b.c", "token=", "bearer "):
        with suppress(MalformedLine):
            token_import.parse_credentials(part * (settings.IMPORT_LINE_CHARS // len(part)))
