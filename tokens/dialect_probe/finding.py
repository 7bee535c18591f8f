"""One fact about an upstream, in words and as fields of its dialect."""

from dataclasses import dataclass, field

from providers.protocol.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one probe.

    `fields` are the values of `Dialect` that it proves, where they matter; `dialect` is the name of
    a profile that fits.
    """

    subject: str
    result: str
    fields: JsonObject = field(default_factory=dict)
    dialect: str = ""
