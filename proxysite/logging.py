"""The form of log lines: one line per event, control characters escaped, secrets masked.

`2026-11-21T10:00:00.123Z WARNING tokens.pool.pool: text`, or with LOG_FORMAT=json one JSON object a
line for programs that collect logs. Text from a caller or an upstream stays on its line.
"""

import logging
import re
import sys
import time

import orjson

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

    def format_stamp(self, record: logging.LogRecord) -> str:
        """Return the time of the record in UTC, with milliseconds."""
        return f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.format_stamp(record)
        message = record.getMessage().translate(ESCAPED_CONTROLS)
        line = f"{stamp} {record.levelname} {record.name}: {message}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    {part.translate(ESCAPED_CONTROLS)}" for part in trace)
        return redact_secrets(line)


class JsonFormatter(LineFormatter):
    """A formatter that makes one redacted JSON object of a record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.format_stamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": redact_secrets(record.getMessage()),
            "process": record.process,
        }
        if record.exc_info:
            fields["traceback"] = redact_secrets(self.formatException(record.exc_info))
        # a lone surrogate from a caller cannot be written as JSON
        texts = {
            name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for name, value in fields.items()
        }
        return orjson.dumps(texts).decode()


FORMATTERS = {"line": LineFormatter, "json": JsonFormatter}


def build_logging_config(level: str, line_format: str = "line") -> JsonObject:
    """Return the configuration for `logging.config.dictConfig`; `line_format` is of FORMATTERS.

    Everything of `level` and above goes to standard error; libraries that log much have a higher
    level.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {name: {"()": formatter} for name, formatter in FORMATTERS.items()},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": line_format,
                "stream": sys.stderr,
            }
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
