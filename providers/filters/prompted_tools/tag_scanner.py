"""Read a tool call that a model wrote between tags. No I/O."""

from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_collector import CallCollector
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import parse_argument

# the tags that end a call, by the tag that names its tool
PARAMETER_ENDS = {
    "<tool>": ("/args", "/function_call"),
    "<invoke ": ("/invoke",),
    "<function=": ("/function",),
}


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
            if not beginning or beginning[1] in tags:
                text.release_held()
                return
            if beginning[1] in "{[":
                text.take_to(beginning.end() - 1)
                calls = yield from self._collector.take_value_calls(is_tagged=True)
                self._collector.settle_calls(calls, tags)
                return
            text.take_to(beginning.end())
            tags.append(beginning[1])
        yield from self._read_named_call(tags)

    def _read_named_call(self, tags: list[str]) -> Steps[None]:
        """Read a call whose last opening tag names the tool."""
        text = self._text
        tag = tags[-1]
        name = yield from self._read_tag_name(tag)
        if name not in self._collector.tools:
            text.release_held()
            return
        beginning = None
        if tag == "<function=":
            beginning = yield from text.match_pattern(forms.OBJECT_BEGINNING)
        if beginning:
            text.take_to(beginning.end() - 1)
            yield from self._collector.take_arguments(name, ["<function>", *tags[:-1]])
            return
        arguments = yield from self._read_parameters(name, tag)
        if arguments is None:
            text.release_held()
        else:
            self._collector.settle_call(name, arguments, tags)

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
            closing_tag = "</parameter>"
            if tag == "<tool>":
                closing_tag = f"</{name}>"
            value_text = yield from text.take_until(closing_tag)
            if value_text is None:
                return None
            arguments[name] = parse_argument(self._collector.tools[tool_name], name, value_text)
        return None
