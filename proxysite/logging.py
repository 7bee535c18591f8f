"""The form of log lines: one line per event, control characters escaped, secrets masked.

`2026-11-21T10:00:00.123Z WARNING tokens.pool.pool: text`. Text from a caller or an upstream stays
on its line.
"""

import logging
import re
import sys
import time

from providers.protocol.json_types import JsonObject

# must not be logged: bearer values, keys by their usual prefixes, JWTs, passwords in URLs
SECRET_PATTERN = re.compile(
    r"(?i)(bearer(?:\s|\\x[0-9a-f]{2}|\\[nrt])+)[^\s,;\"']+"
    r"|(?<![\w-])(g?sk[-_](?:[a-z]{1,10}-)?)[\w-]{6,}"
    r"|(?<![\w-])(eyJ)[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(://[^\s:/@]*:)[^\s@/]+(?=@)"
)
ESCAPED_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def redact_secrets(text: str) -> str:
    """Return `text` with everything that looks like a secret masked.

    Its harmless beginning stays, followed by `***`.
    """
    return SECRET_PATTERN.sub(lambda match: next(filter(None, match.groups()), "") + "***", text)


class LineFormatter(logging.Formatter):
    """A formatter that makes one escaped, redacted line of a record.

    A traceback keeps its own lines, indented.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        stamp = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        message = record.getMessage().translate(ESCAPED_CONTROLS)
        line = f"{stamp} {record.levelname} {record.name}: {message}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    {part.translate(ESCAPED_CONTROLS)}" for part in trace)
        return redact_secrets(line)


def build_logging_config(level: str) -> JsonObject:
    """Return the configuration for `logging.config.dictConfig`.

    Everything of `level` and above goes to standard error; libraries that log much have a higher
    level.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "proxysite.logging.LineFormatter"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": sys.stderr}
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "uvicorn.access": {"level": "WARNING"},
            "uvicorn.error": {"level": "WARNING"},
            "kombu.connection": {"level": "ERROR"},
            "celery": {"level": "WARNING"},
            "django_celery_beat": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "axes": {"level": "ERROR"},
        },
    }
