"""The `.env` files that the K2Think and Kimi proxies publish, as they are."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from proxysite.configuration import env_file
from proxysite.configuration.setting_types import InvalidSettings

# names, forms of lines and kinds of comments as in the published files; values made up
K2THINK_FILE = """\
# K2Think API 代理服务器配置
VALID_API_KEY=sk-made-up-shared-key # 客户端密钥
PROXY_MODE=user  # guest 或 user
HOST=0.0.0.0 # 监听地址
PORT=8001 # 端口
MAX_TOKEN_FAILURES=3    # 次
REQUEST_TIMEOUT=60 # 秒
TOOL_SUPPORT=true # 工具
DEBUG_LOGGING=false # 调试
LOG_LEVEL=INFO # 日志
CORS_ORIGINS=* # 源
ACCOUNTS_FILE="accounts # 1.txt"  # 账号
USER_TOKENS_FILE='tokens.txt'\t# 令牌
export KIMI_TOKENS = first-token,second-token # 两个
OUTPUT_THINKING=false # 思考
APP_ENV=
"""


def run_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes, **variables: str
) -> dict[str, Any]:
    """Return the settings of a process with this `.env` file and these variables."""
    file = tmp_path / "their.env"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    read_env_file = env_file.read_env_file
    monkeypatch.setattr(env_file, "read_env_file", lambda _: read_env_file(file))
    environment = {"PROXYSITE_HOME": str(tmp_path / "home"), "MARKER_FILE": "none", **variables}
    monkeypatch.setattr(env_file.environ.Env, "ENVIRON", environment)
    monkeypatch.setattr(sys, "argv", ["manage.py"])
    return runpy.run_path(str(settings.BASE_DIR / "proxysite" / "settings.py"))


def check_k2think_settings(found: dict[str, Any]) -> None:
    assert found["VALID_API_KEY"] == "sk-made-up-shared-key"
    assert (found["HOST"], found["PORT"], found["PROXY_MODE"]) == ("0.0.0.0", 8001, "user")
    assert (found["MAX_TOKEN_FAILURES"], found["FIRST_BYTE_SECONDS"]) == (3, 60)
    assert (found["TOOL_SUPPORT"], found["OUTPUT_THINKING"]) == (True, False)
    assert (found["LOG_LEVEL"], found["CORS_ALLOW_ALL_ORIGINS"]) == ("INFO", True)
    assert found["KIMI_TOKENS"] == ["first-token", "second-token"]
    assert found["ACCOUNTS_FILE"] == "accounts # 1.txt"
    assert found["USER_TOKENS_FILE"] == "tokens.txt"
    assert found["SETTING_WARNINGS"] == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_published_file_of_the_k2think_proxy_is_read_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, line_end: str
) -> None:
    content = K2THINK_FILE.replace("\n", line_end).encode(encoding)
    check_k2think_settings(run_settings(monkeypatch, tmp_path, content))


def test_lines_that_docker_hands_over_as_they_are_mean_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`docker run --env-file` keeps quotes and comments."""
    lines = [line for line in K2THINK_FILE.splitlines() if not line.startswith("#")]
    pairs = [line.removeprefix("export ").split("=", 1) for line in lines]
    variables = {name.strip(): value for name, value in pairs}
    check_k2think_settings(run_settings(monkeypatch, tmp_path, "", **variables))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("PORT=many # 端口", "PORT: 'many' is not a whole number from 0 to 65535."),
        ("REQUEST_TIMEOUT=soon", "FIRST_BYTE_SECONDS (REQUEST_TIMEOUT of the .env): 'soon' is not"),
        ("LOG_LEVEL=LOUD # 日志", "LOG_LEVEL: 'LOUD' is not one of DEBUG, INFO,"),
        ("TOOL_SUPPORT=maybe # 工具", "TOOL_SUPPORT: 'maybe' is not true or false."),
    ],
)
def test_a_bad_value_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, problem: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        run_settings(monkeypatch, tmp_path, line)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1   # one", "1"),
        ("a#b # two", "a#b"),
        ("#abc", "#abc"),
        (" # nothing", ""),
        ("'a # b'", "a # b"),
        ("'sk'  #k", "sk"),
        ('"x # y" # z', "x # y"),
        (r'"a\"b"', 'a"b'),
        ('"open', '"open'),
        ("it's # x", "it's"),
        ('"a" b # c', '"a" b'),
    ],
)
def test_quotes_and_comments_are_no_part_of_a_value(text: str, value: str) -> None:
    assert env_file.parse_value(text) == value


def test_a_file_that_is_no_text_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 9)
    assert env_file.load_environment(tmp_path / ".env").warnings == [
        f"{tmp_path / '.env'} is not in force: The file is no text but a picture."
    ]
