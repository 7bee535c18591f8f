"""The variable names of the programs that proxysite replaces, read as our settings.

No Django in here. Source: the published configuration of the K2Think and Kimi proxies and their
forks. `docs/coming-from-*.md` say how each of their settings is handled.
"""

from collections.abc import Callable, MutableMapping

from proxysite.configuration.env_file import parse_value
from proxysite.configuration.setting_values import ENVIRONMENT, TRUE_WORDS

ALIASES = {
    "REQUEST_TIMEOUT": "FIRST_BYTE_SECONDS",
    "CORS_ORIGINS": "CORS_ALLOWED_ORIGINS",
    "ENABLE_TOOLIFY": "TOOL_SUPPORT",
    "K2THINK_API_URL": "USER_API_URL",
}
DEBUG_VARIABLES = ("DEBUG", "DEBUG_LOGGING")  # they only make the log longer: no debug pages
# names that their files and ours share
SHARED_NAMES = """
    HOST PORT LOG_LEVEL TOOL_SUPPORT MAX_TOKEN_FAILURES PROXY_MODE PROXY_URL OUTPUT_THINKING
    VALID_API_KEY DEFAULT_AUTHKEYS KIMI_TOKENS K2THINK_TOKEN TOKENS_FILE
    USER_TOKENS_FILE GUEST_TOKENS_FILE ACCOUNTS_FILE USER_API_URL GUEST_API_URL
""".split()


def apply_aliases(
    environ: MutableMapping[str, str],
    find_source: Callable[[str], str] = lambda name: ENVIRONMENT,
) -> dict[str, str]:
    """Set our variables from theirs where ours are not set, and return {our name: their name}.

    `find_source` returns where the value of a variable comes from. Changes `environ`.
    """
    clean_values(environ, find_source)
    aliases_used = {}
    for theirs, ours in ALIASES.items():
        if environ.get(theirs) and not environ.get(ours):
            environ[ours] = environ[theirs]
            aliases_used[ours] = theirs
    debug_names = [
        name for name in DEBUG_VARIABLES if environ.get(name, "").strip().lower() in TRUE_WORDS
    ]
    if debug_names and not environ.get("LOG_LEVEL"):
        environ["LOG_LEVEL"] = "DEBUG"
        aliases_used["LOG_LEVEL"] = debug_names[0]
    return aliases_used


def clean_values(environ: MutableMapping[str, str], find_source: Callable[[str], str]) -> None:
    """Take quotes and comments out of the values of their variables. Changes `environ`.

    `docker run --env-file` and systemd hand over the lines of their `.env` files as they are. The
    `.env` file that we read ourselves has been parsed already.
    """
    for name in (*ALIASES, *DEBUG_VARIABLES, *SHARED_NAMES):
        if name in environ and find_source(name) == ENVIRONMENT:
            environ[name] = parse_value(environ[name])
