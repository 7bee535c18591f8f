"""Read the configuration files of OpenKimi (config.json) and O1-API (config.yaml) as a profile.

A profile says which upstream model to use, its address and key, and the strategy over it;
`profile_import.py` writes it as rows. The keys of the files are from the two programs' published
configuration. No note and no error contains a secret.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import yaml

from conversations.strategies.multipath.multipath_options import MultipathOptions
from conversations.strategies.stepwise.step_prompts import StepwiseOptions
from conversations.text.density import METHODS
from providers.protocol.json_types import JsonObject

MAX_CHARS = 65_536  # of a file
OPEN_QUOTE = "while scanning a quoted scalar"  # PyYAML's words
QUOTED = re.compile(r"""(['"]).{2,}\1""", re.DOTALL)  # more than a character of the grammar
O1_KEYS = frozenset(
    {
        "api_bearer_token",
        "model_provider_api_key",
        "default_api_url",
        "default_model",
        "stream_status_feedback",
        "use_regex_processing",
    }
)
KIMI_KEYS = frozenset({"llm", "processor", "rag", "mpr_candidates", "mcp_candidates", "framework"})
# sections of OpenKimi's file: the values that go into the row's options, with their types
SECTION_TYPES: dict[str, dict[str, type]] = {
    "processor": {
        "batch_size": int,
        "overlap_size": int,
        "entropy_threshold": float,
        "entropy_method": str,
    },
    "rag": {"top_k": int},
}
RANGES = {
    "batch_size": (1, 1_000_000),
    "overlap_size": (0, 1_000_000),
    "entropy_threshold": (0, 64),  # bits
    "top_k": (0, 1_000),
}
# middle of the scale of densities (conversations/text/density.py); half of a text is above it
MIDDLE_DENSITY = 0.5
MOST_WINDOW_TOKENS = 100_000_000  # tokens of a window
OPTIONS_BY_STRATEGY: dict[str, type[msgspec.Struct]] = {
    "stepwise": StepwiseOptions,
    "multipath": MultipathOptions,
}
Config = Mapping[object, object]  # of JSON or YAML; YAML's keys may be numbers


class ProfileRefused(Exception):
    """A file that cannot be imported; the message says why in one line."""


@dataclass(slots=True)
class Profile:
    """The content of a file.

    `prefix` and the model's name make the name of the virtual model. `kind` is the provider's
    adapter; `notes` are lines about values that were left out.
    """

    prefix: str
    strategy: str
    options: JsonObject
    kind: str = "openai_compatible"
    url: str = ""
    model: str = ""
    secret: str = ""
    key_name: str = ""  # where in the file the secret stands
    callers_key: str = ""  # the key that the file's program wants from its callers
    window_tokens: int | None = None  # of the model, in tokens
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Profile({self.strategy}, {self.model})"


def read_profile(text: str, environ: Mapping[str, str]) -> Profile:
    """Return the profile of a file's text. Raises ProfileRefused.

    OpenKimi takes key and address from the environment when the file has none.
    """
    if len(text) > MAX_CHARS:
        raise ProfileRefused(f"The file is longer than {MAX_CHARS} characters.")
    config = parse_config(text.lstrip("\ufeff"))
    if "llm" in config or not O1_KEYS.intersection(config):
        if not KIMI_KEYS.intersection(config):
            raise ProfileRefused(
                "This is neither a config.json of OpenKimi nor a config.yaml of O1-API."
            )
        profile = read_openkimi_profile(config, environ)
        known = KIMI_KEYS
    else:
        profile = read_o1_profile(config)
        known = O1_KEYS
    profile.notes += [f"{name}: not known, left out." for name in config if name not in known]
    profile.notes = [escape_unprintable(note) for note in profile.notes]
    require_printable_fields(profile)
    try:
        msgspec.convert(profile.options, OPTIONS_BY_STRATEGY[profile.strategy])
    except msgspec.ValidationError as error:
        raise ProfileRefused(f"The file has a value that cannot be used: {error}.") from None
    return profile


def require_printable_fields(profile: Profile) -> None:
    """Raise ProfileRefused when a field has a character that cannot be printed."""
    fields = {"address": profile.url, "model's name": profile.model, "key": profile.secret}
    for title, value in fields.items():
        if not value.isprintable():
            raise ProfileRefused(f"The {title} has a character that cannot be printed.")


def parse_config(text: str) -> Config:
    """Return the object of a JSON or YAML text. Raises ProfileRefused."""
    if not text.lstrip().startswith("{"):
        return parse_yaml(text)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileRefused(f"The file is not valid JSON: {error}.") from None
    return dict(config)


def parse_yaml(text: str) -> Config:
    """Return the mapping of a YAML text, {} for an empty one. Raises ProfileRefused."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            line = node.start_mark.line + 1
            raise ProfileRefused(f"Line {line} is not of the form `key: value`.")
        return dict(loader.construct_document(node))
    except yaml.YAMLError as error:
        raise ProfileRefused(f"{locate_yaml_error(error, text)}.") from None
    except (ValueError, RecursionError):
        raise ProfileRefused("The file has a value that YAML cannot read.") from None


def locate_yaml_error(error: yaml.YAMLError, text: str) -> str:
    """Return where a YAML text is wrong and why, without its quoted parts: one may be a secret."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"Line {line} has a character that YAML does not allow"
    if not isinstance(error, yaml.MarkedYAMLError):
        return "The file is not valid YAML"
    opened = error.context_mark if error.context == OPEN_QUOTE else None
    mark = opened or error.problem_mark
    place = f"Line {mark.line + 1}, column {mark.column + 1}" if mark else "The file"
    problem = QUOTED.sub("…", error.problem or "")
    return f"{place} is not valid YAML: {problem}"


def read_o1_profile(config: Config) -> Profile:
    """Return the profile of O1-API's file: steps over one model.

    The form is Markdown, or HTML where the file turns `use_regex_processing` off.
    """
    for name in ("stream_status_feedback", "use_regex_processing"):
        if not isinstance(config.get(name, True), bool):
            raise ProfileRefused(f"{name} must be true or false.")
    options = {
        "feedback": config.get("stream_status_feedback", True),
        "format": "markdown" if config.get("use_regex_processing", True) else "details",
    }
    profile = Profile("o1-", "stepwise", options, key_name="model_provider_api_key")
    profile.url = read_text_option(config, "default_api_url")
    profile.model = read_text_option(config, "default_model")
    profile.secret = read_text_option(config, "model_provider_api_key")
    profile.callers_key = read_text_option(config, "api_bearer_token")
    return profile


def read_openkimi_profile(config: Config, environ: Mapping[str, str]) -> Profile:
    """Return the profile of OpenKimi's file: several paths over one model.

    With one candidate there are only a plan and a solution, as in OpenKimi.
    """
    llm = read_section(config, "llm")
    count = config.get("mpr_candidates", config.get("mcp_candidates", 1))
    options: JsonObject = {"candidates": count, "framework": True}
    profile = Profile("openkimi-", "multipath", options, key_name="llm.api_key")
    for name in SECTION_TYPES:
        if values := read_section_options(profile, name, read_section(config, name)):
            options[name] = values
    if "framework" in config:
        profile.notes.append("framework: was never used, left out.")
    profile.window_tokens = read_window_tokens(llm, "context_length")
    read_openkimi_upstream(profile, llm, environ)
    return profile


def read_section_options(profile: Profile, name: str, section: Config) -> JsonObject:
    """Return the options in a section; note in the profile which values were left out."""
    types = SECTION_TYPES[name]
    values = {key: section[key] for key in types if key in section}
    for key, value in values.items():
        check_option(name, key, value)
    if values.get("entropy_method", METHODS[0]) not in METHODS:
        raise ProfileRefused(f"processor.entropy_method must be one of: {', '.join(METHODS)}.")
    bits = values.get("entropy_threshold")
    if isinstance(bits, int | float) and bits > 1:
        values["entropy_threshold"] = MIDDLE_DENSITY
        profile.notes.append(
            f"{name}.entropy_threshold: {bits} bits; here scores go from 0 to 1: "
            f"{MIDDLE_DENSITY} taken."
        )
    profile.notes += [
        f"{name}.{key}: has no meaning here, left out." for key in section if key not in types
    ]
    return values


def read_openkimi_upstream(profile: Profile, llm: Config, environ: Mapping[str, str]) -> None:
    """Put kind, address, model and key of the section `llm` into the profile."""
    llm_type = llm.get("type", "dummy")
    if llm_type == "dummy":
        profile.kind = "echo"
        profile.model = "echo"
    elif llm_type == "local":
        profile.kind = "local"
    elif llm_type == "api":
        profile.model = read_text_option(llm, "model_name") or "gpt-3.5-turbo"
        profile.url = read_text_option(llm, "api_url") or environ.get("OPENAI_API_BASE", "")
        profile.secret = read_text_option(llm, "api_key") or environ.get("OPENAI_API_KEY", "")
    else:
        raise ProfileRefused("llm.type must be api, local or dummy.")


def check_option(section_name: str, key: str, value: object) -> None:
    """Raise ProfileRefused unless a section's value has its type and, as a number, its range."""
    expected_type = SECTION_TYPES[section_name][key]
    accepted_types = (int, float) if expected_type is float else (expected_type,)
    if type(value) not in accepted_types:
        raise ProfileRefused(f"{section_name}.{key} must be of the type {expected_type.__name__}.")
    if isinstance(value, int | float):
        least, most = RANGES[key]
        if not least <= value <= most:  # also when it is no number at all (NaN)
            raise ProfileRefused(f"{section_name}.{key} must be a number from {least} to {most}.")


def escape_unprintable(text: str) -> str:
    """Return the text with unprintable characters written as Python escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def read_section(config: Config, name: str) -> Config:
    section = config.get(name) or {}
    if not isinstance(section, dict):
        raise ProfileRefused(f"{name} must be an object.")
    return section


def read_text_option(config: Config, name: str) -> str:
    text = config.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ProfileRefused(f"{name} must be a text.")
    return text.strip()


def read_window_tokens(config: Config, name: str) -> int | None:
    tokens = config.get(name)
    if tokens is None:
        return None
    if not isinstance(tokens, int) or tokens is True or not 0 < tokens <= MOST_WINDOW_TOKENS:
        raise ProfileRefused(f"llm.{name} must be a number from 1 to {MOST_WINDOW_TOKENS}.")
    return tokens
