"""The variable names of the programs that proxysite replaces, read as our settings.

No Django in here. Source: the published configuration of the K2Think and Kimi proxies.
`docs/coming-from-*.md` say how each of their settings is handled.
"""

from collections.abc import MutableMapping

ALIASES = {
    "REQUEST_TIMEOUT": "FIRST_BYTE_SECONDS",
    "CORS_ORIGINS": "CORS_ALLOWED_ORIGINS",
    "ENABLE_TOOLIFY": "TOOL_SUPPORT",
    "K2THINK_API_URL": "USER_API_URL",
}
DEBUG_VARIABLES = ("DEBUG", "DEBUG_LOGGING")  # they only make the log longer: no debug pages


def apply_aliases(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Set our variables from theirs where ours are not set, and return {our name: their name}.

    Changes `environ`.
    """
    aliases_used = {}
    for theirs, ours in ALIASES.items():
        if environ.get(theirs) and not environ.get(ours):
            environ[ours] = environ[theirs]
            aliases_used[ours] = theirs
    debug_names = [
        name
        for name in DEBUG_VARIABLES
        if environ.get(name, "").strip().lower() in ("true", "1", "yes", "on")
    ]
    if debug_names and not environ.get("LOG_LEVEL"):
        environ["LOG_LEVEL"] = "DEBUG"
        aliases_used["LOG_LEVEL"] = debug_names[0]
    return aliases_used
