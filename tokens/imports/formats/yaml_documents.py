"""Read a YAML document, such as LiteLLM's config.yaml, without constructing anything from it.

Every value stays a text. Aliases are refused, because a few of them can stand for a document that
is too large for any memory. Depth and size are bounded before anything is built.
"""

from collections.abc import Iterator

import yaml

MAX_YAML_CHARS = 4 * 2**20
DEEPEST_NODE = 32
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnreadableDocument(Exception):
    """The document cannot be read; the message says why, without any of its text."""


def read_yaml(text: str) -> object:
    """Return the document as lists, dicts and texts. Raises UnreadableDocument."""
    if len(text) > MAX_YAML_CHARS:
        raise UnreadableDocument(f"is YAML of more than {MAX_YAML_CHARS} characters")
    try:
        check_events(yaml.parse(text, Loader=YamlLoader))
        return convert_node(yaml.compose(text, Loader=YamlLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise UnreadableDocument(f"is no valid YAML in line {line}") from None
    except (yaml.YAMLError, ValueError):
        raise UnreadableDocument("is no valid YAML") from None


def check_events(events: Iterator[object]) -> None:
    """Raise UnreadableDocument on an alias, and on lists in lists beyond DEEPEST_NODE."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise UnreadableDocument("is YAML with aliases (*name), which are not followed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST_NODE:
            raise UnreadableDocument(f"is YAML with more than {DEEPEST_NODE} levels")


def convert_node(node: object) -> object:
    """Return a node as a list, a dict or a text."""
    if isinstance(node, yaml.SequenceNode):
        return [convert_node(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(convert_node(key)): convert_node(value) for key, value in node.value}
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return None
