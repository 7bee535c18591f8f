"""Read a tool call that a model wrote between tags. No I/O."""

from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_collector import CallCollector
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import (
    build_written_call,
    parse_json_value,
    resolve_tool_name,
)

# the tags that end a call, by the tag that names its tool
PARAMETER_ENDS = {
    "<tool>": ("/args", "/function_call"),
    "<invoke ": ("/invoke",),
    "<function=": ("/function", "/tool_call"),
} | {tag: (f"/{mark}invoke",) for tag, mark in forms.DSML_INVOKE_TAGS.items()}
END_TOOL_CALL = "</tool_call>"
END_ARGUMENT_KEY = "</arg_key>"
END_ARGUMENT_VALUE = "</arg_value>"


class TagScanner:
    """The reading of calls between tags."""

    __slots__ = ("_collector", "_text")

    def __init__(self, text: ScannedText, collector: CallCollector) -> None:
        self._text = text
        self._collector = collector

    def read_call(self, opener: str) -> Steps[None]:
        """Read the call after an opening tag; the text is released if it is none."""
        text = self._text
        text.begin_holding()
        text.take_chars(len(opener))
        tags = [opener]
        while tags[-1] in forms.WRAPPING_TAGS:
            beginning = yield from text.match_pattern(forms.WRAPPED_BEGINNING)
            if not beginning:
                yield from self._read_unnamed_call(tags)
                return
            if beginning[1] in tags:
                text.release_held()
                return
            if beginning[1] in "{[":
                text.take_to(beginning.end() - 1)
                ends = [forms.build_closing_tag(tags[-1])]
                yield from self._collector.take_objects(ends=ends, tags=tags)
                return
            text.take_to(beginning.end())
            tags.append(beginning[1])
        yield from self._read_named_call(tags)

    # --- a call whose name stands in a tag --------------------------------------------------------
    def _read_named_call(self, tags: list[str]) -> Steps[None]:
        """Read a call whose last opening tag names the tool."""
        text = self._text
        tag = tags[-1]
        written_name = yield from self._read_tag_name(tag)
        name = resolve_tool_name(written_name, self._collector.tools)
        if not name:
            text.release_held()
            return
        beginning = None
        if tag == "<function=":
            beginning = yield from text.match_pattern(forms.OBJECT_BEGINNING)
        if beginning:
            text.take_to(beginning.end() - 1)
            call = yield from self._collector.read_arguments(name, ["</function>"])
            self._collector.settle_call(call, ["<function>", *tags[:-1]])
            return
        arguments = yield from self._read_parameters(name, tag)
        if arguments is None:
            text.release_held()
        else:
            self._collector.settle_call(build_written_call(name, arguments), tags)

    def _read_tag_name(self, tag: str) -> Steps[str]:
        """Read a tag to its end and return the name of the called tool; empty if it names none."""
        pattern = forms.TOOL_NAME if tag == "<tool>" else forms.TAG_REST
        tag_rest = yield from self._text.match_pattern(pattern)
        if not tag_rest:
            return ""
        self._text.take_to(tag_rest.end())
        return forms.read_name_attribute(tag_rest[1])

    def _read_parameters(self, tool_name: str, tag: str) -> Steps[dict[str, object] | None]:
        """Return the arguments given in tags of their own, read to the tag that ends the call.

        Returns None if they are not arguments.
        """
        text = self._text
        schema = ArgumentSchema(self._collector.tools[tool_name])
        arguments: dict[str, object] = {}
        is_inside = tag != "<tool>"
        while parameter_tag := (yield from text.match_pattern(forms.TAG)):
            text.take_to(parameter_tag.end())
            tag_content = parameter_tag[1].strip()
            if tag_content in PARAMETER_ENDS[tag]:
                return arguments
            if not is_inside and tag_content == "args":
                is_inside = True
                continue
            name = forms.read_name_attribute(tag_content)
            if not name:
                return None
            closing_tag = f"</{forms.DSML_INVOKE_TAGS.get(tag, '')}parameter>"
            if tag == "<tool>":
                closing_tag = f"</{name}>"
            value_text = yield from text.take_until(closing_tag)
            if value_text is None:
                return None
            arguments[name] = convert_parameter(schema, name, value_text, tag, tag_content)
        return None

    # --- a call whose name stands between the tags ------------------------------------------------
    def _read_unnamed_call(self, tags: list[str]) -> Steps[None]:
        """Read a call whose tag is followed by the name, as GLM writes it."""
        text = self._text
        head = None
        if tags == [forms.TOOL_CALL_TAG]:
            head = yield from text.match_pattern(forms.WRAPPED_NAME)
        name = resolve_tool_name(head[1], self._collector.tools) if head else ""
        if not head or not name:
            text.release_held()
            return
        if head[2] == "{":
            text.take_to(head.end() - 1)
            call = yield from self._collector.read_arguments(name, [END_TOOL_CALL])
            self._collector.settle_call(call, tags)
            return
        text.take_to(head.end())
        if head[2] == END_TOOL_CALL:
            is_call = self._collector.takes_no_arguments(name)
            self._collector.settle_call(build_written_call(name, {}) if is_call else None)
            return
        arguments = yield from self._read_argument_pairs(name)
        if arguments is None:
            text.release_held()
        else:
            self._collector.settle_call(build_written_call(name, arguments), tags)

    def _read_argument_pairs(self, tool_name: str) -> Steps[dict[str, object] | None]:
        """Return the arguments in GLM's pairs of tags, whose first tag is read already.

        Returns None if they are not arguments. The end of the text may stand for the last tag.
        """
        text = self._text
        schema = ArgumentSchema(self._collector.tools[tool_name])
        arguments: dict[str, object] = {}
        while True:
            name = yield from text.take_until(END_ARGUMENT_KEY)
            value_tag = yield from text.match_pattern(forms.ARGUMENT_KEY_END)
            if name is None or not value_tag:
                return None
            text.take_to(value_tag.end())
            value_text = yield from text.take_until(END_ARGUMENT_VALUE)
            if value_text is None:
                return None
            arguments[name.strip()] = schema.convert_text(name.strip(), value_text)
            next_tag = yield from text.match_pattern(forms.NEXT_ARGUMENT)
            if not next_tag:
                return arguments
            text.take_to(next_tag.end())
            if next_tag[1] == END_TOOL_CALL:
                return arguments


def convert_parameter(
    schema: ArgumentSchema, name: str, text: str, tag: str, tag_content: str
) -> object:
    """Return the value of the text between a parameter's tags, which end in `tag_content`.

    Templates differ in the line ends that they put around a value; those are no part of it.
    """
    if tag in forms.DSML_INVOKE_TAGS:
        if 'string="true"' in tag_content:
            return text
        return schema.convert_text(name, text)
    if tag == "<function=":
        return schema.convert_text(name, text.removeprefix("\n").removesuffix("\n"))
    if tag == "<tool>":
        value = parse_json_value(text)
        if isinstance(value, str):
            return value
    if text.startswith("\n") and text.endswith("\n") and len(text) > 1:
        text = text[1:-1]
    return schema.convert_text(name, text)
