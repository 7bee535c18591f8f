"""One item of a turn for the template: its label, its text in blocks, its files by their names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from conversations.admin.thread.text_blocks import TextBlock, split_blocks
from conversations.messages.items import CALL_TYPES, OUTPUT_TYPES
from conversations.models import RUNNING_STATUSES, Item, TurnStatus
from providers.admin.big_tables import render_badge
from providers.protocol.json_types import JsonObject

SHOWN_CHARS = 20_000  # of one item
NAME_CHARS = 120  # of a file or an address of an image
FILE_TYPES = ("input_image", "input_file", "input_audio")
COLOURS = {TurnStatus.COMPLETED: "good", TurnStatus.INCOMPLETE: "wait", TurnStatus.FAILED: "bad"}


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file or an image of a message: its name, and the page of its row, if there is one."""

    name: str
    address: str = ""


@dataclass(slots=True)
class ItemView:
    """One item as the template shows it; `kind` is message, reasoning, call, result or other."""

    pk: int
    kind: str
    label: str
    status: SafeString | str
    is_output: bool
    blocks: list[TextBlock]
    files: list[AttachedFile] = field(default_factory=list)
    name: str = ""  # of the tool
    hidden_chars: int = 0
    is_hit: bool = False


def describe_item(row: Item, data: JsonObject | None, tool_names: Mapping[str, str]) -> ItemView:
    """Return an item for the template.

    `row` has the beginning of its text as `cut_text`, and its length as `chars`. `data` is None
    when it was too large to load. `tool_names` are the names of called tools by the calls' ids.
    """
    values: Any = row
    kind = find_kind(row.type)
    view = ItemView(
        pk=row.pk,
        kind=kind,
        label=make_label(row, kind),
        status=render_unusual_status(row.status),
        is_output=row.output,
        blocks=[],
        hidden_chars=max(0, values.chars - SHOWN_CHARS),
    )
    if kind == "message":
        view.blocks = split_blocks(values.cut_text)
        view.files = list_files(data)
    elif kind == "reasoning":
        view.blocks = [TextBlock(values.cut_text or render_json(data))]
    else:
        view.name = find_tool_name(data, tool_names)
        view.blocks = [TextBlock(find_code(kind, values.cut_text, data), is_code=True)]
    return view


def find_kind(item_type: str) -> str:
    """Return how an item of this type is shown."""
    if item_type in ("message", "reasoning"):
        return item_type
    if item_type in CALL_TYPES:
        return "call"
    return "result" if item_type in OUTPUT_TYPES else "other"


def make_label(row: Item, kind: str) -> str:
    """Return the label of an item: the role of a message's author, or the kind of another item."""
    if kind == "message":
        roles = {"user": _("user"), "assistant": _("model"), "system": _("system")}
        return roles.get(row.role, row.role)
    labels = {"call": _("calls"), "result": _("result of"), "reasoning": _("reasoning")}
    return labels.get(kind) or row.type.replace("_", " ")


def find_tool_name(data: JsonObject | None, tool_names: Mapping[str, str]) -> str:
    """Return the name of the tool that an item calls, or whose result it is."""
    if data is None:
        return ""
    name = data.get("name") or tool_names.get(str(data.get("call_id") or ""))
    return str(name or data.get("call_id") or "")


def find_code(kind: str, text: str, data: JsonObject | None) -> str:
    """Return the arguments of a call, the result of a tool, or the data of another item."""
    if data is None:
        return text
    if kind == "call":
        return indent_json_text(data.get("arguments") or data.get("input") or text)
    if kind == "result":
        return indent_json_text(text or data.get("output"))
    return text or render_json(data)


def indent_json_text(value: object) -> str:
    """Return a JSON text with indentation; any other text as it is."""
    if not isinstance(value, str):
        return render_json(value)
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value[:SHOWN_CHARS]
    return render_json(parsed) if isinstance(parsed, (dict, list)) else value[:SHOWN_CHARS]


def render_json(value: object) -> str:
    """Return a value as indented JSON, cut like a text."""
    if not value:
        return ""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()[:SHOWN_CHARS]


def list_files(data: JsonObject | None) -> list[AttachedFile]:
    """Return the files and images of a message."""
    if data is None:
        return [AttachedFile(_("images or files that are too large for this page"))]
    parts = data.get("content")
    if not isinstance(parts, list):
        return []
    return [
        name_part(part)
        for part in parts
        if isinstance(part, dict) and part.get("type") in FILE_TYPES
    ]


def name_part(part: JsonObject) -> AttachedFile:
    """Return the name of a file or an image, with a link if it is a stored file."""
    file_id = part.get("file_id")
    content = str(part.get("image_url") or part.get("file_data") or part.get("file_url") or "")
    name = str(part.get("filename") or "")
    if file_id:
        address = reverse("admin:conversations_storedfile_change", args=[str(file_id)])
        return AttachedFile((name or str(file_id))[:NAME_CHARS], address)
    if content.startswith("data:"):
        media_type = content[5:].partition(";")[0][:NAME_CHARS] or _("data")
        size = filesizeformat(len(content) * 3 // 4)
        return AttachedFile(f"{name or media_type} ({size})")
    return AttachedFile((name or content or str(part["type"]))[:NAME_CHARS])


def render_unusual_status(status: str) -> SafeString | str:
    """Return a badge for a status, and nothing for `completed`, the usual one."""
    if status == TurnStatus.COMPLETED:
        return ""
    colour = COLOURS.get(TurnStatus(status), "off")
    if status in RUNNING_STATUSES:
        colour = "wait"
    return render_badge(colour, TurnStatus(status).label)
