"""Read the arguments of a call as MiniMax M3 writes them: nested tags behind a mark. No I/O.

Each argument is `MARK<name>value MARK</name>` without the blank; the mark before the closing tag
may be missing. An object has its members as such tags, a list has tags named `item`; a tag that
comes several times is a list, too. An empty list or object is an empty tag. Sources: the
descriptions of this form in the parsers of llama.cpp (pull request 24523), vLLM and mlxcel.
"""

import re
from dataclasses import dataclass, field

from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.filters.call_texts.token_syntax import MINIMAX_MARK
from providers.protocol.json_types import JsonObject

TAG = re.compile(rf"{re.escape(MINIMAX_MARK)}<(/?)([^<>\s/]{{1,256}})\s*>")
ITEM = "item"
TEXT_MEMBER = "$text"  # the name under which the model means text beside tags
MOST_LEVELS = 32


@dataclass(slots=True)
class Element:
    """A tag with what stands in it: texts and further tags, in their order."""

    name: str
    texts: list[str] = field(default_factory=list)
    children: list["Element"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def parse_minimax_arguments(body: str, schema: ArgumentSchema) -> JsonObject | None:
    """Return the arguments in the text between the tags of a call; None if it has none."""
    root = parse_elements(body)
    if root is None or root.text.strip():
        return None
    return convert_members(root, schema, schema.root)


def parse_elements(body: str) -> Element | None:
    """Return the tags of a text below a root of no name; None where they do not match."""
    open_elements = [Element("")]
    position = 0
    for tag in TAG.finditer(body):
        open_elements[-1].texts.append(body[position : tag.start()])
        position = tag.end()
        if not (tag[1] and tag[2] == open_elements[-1].name):
            close_unmarked(open_elements)
        if not tag[1]:
            element = Element(tag[2])
            open_elements[-1].children.append(element)
            open_elements.append(element)
        elif tag[2] == open_elements[-1].name:
            open_elements.pop()
        else:
            return None
        if not 0 < len(open_elements) <= MOST_LEVELS:
            return None
    open_elements[-1].texts.append(body[position:])
    close_unmarked(open_elements)
    return open_elements[0] if len(open_elements) == 1 else None


def close_unmarked(open_elements: list[Element]) -> None:
    """Close, in place, the last element if its text ends with its closing tag, without the mark."""
    element = open_elements[-1]
    closing_tag = f"</{element.name}>"
    text = element.text.rstrip()
    if element.name and not element.children and text.endswith(closing_tag):
        element.texts = [text.removesuffix(closing_tag)]
        open_elements.pop()


def convert_members(element: Element, schema: ArgumentSchema, own_schema: object) -> JsonObject:
    """Return the object that an element's tags make up."""
    values: dict[str, list[object]] = {}
    counts: dict[str, int] = {}
    for child in element.children:
        counts[child.name] = counts.get(child.name, 0) + 1
    for child in element.children:
        member = schema.find_member(own_schema, child.name)
        if counts[child.name] > 1:
            member = schema.find_items(member)
        values.setdefault(child.name, []).append(convert_element(child, schema, member))
    members = {name: found if counts[name] > 1 else found[0] for name, found in values.items()}
    if element.text.strip():
        members[TEXT_MEMBER] = element.text.strip()
    return members


def convert_element(element: Element, schema: ArgumentSchema, own_schema: object) -> object:
    """Return the value of an element, by its schema: a text, a list or an object."""
    if not element.children:
        return schema.convert_value(own_schema, element.text)
    if all(child.name == ITEM for child in element.children) and not element.text.strip():
        items = schema.find_items(own_schema)
        return [convert_element(child, schema, items) for child in element.children]
    return convert_members(element, schema, own_schema)
