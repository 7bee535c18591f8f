"""Read a tool call that a model wrote with its special tokens. No I/O."""

import re

from providers.filters.call_texts import token_syntax as tokens
from providers.filters.call_texts.minimax_arguments import parse_minimax_arguments
from providers.filters.call_texts.python_calls import parse_python_calls
from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_collector import CallCollector
from providers.filters.prompted_tools.call_syntax import BLANKS, NAME, Run, StreamPattern
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import (
    WrittenCall,
    build_written_call,
    resolve_tool_name,
)

CALL_BEGINNING = StreamPattern(BLANKS, tokens.CALL_TOKENS)
CALL_HEAD = StreamPattern(
    BLANKS, Run(r"[^<>|\uff5c\s]", 1, 256, is_group=True), BLANKS, tokens.HEAD_ENDS
)
# DeepSeek V3 writes the kind of tool, then the name on the same line and the JSON in a fence
FENCED_HEAD = StreamPattern(BLANKS, NAME, BLANKS, "```", Run("[a-z]", 0, 8), BLANKS, "{")
FENCE_END = StreamPattern(BLANKS, "```")
OBJECT_BEGINNING = forms.OBJECT_BEGINNING
NO_ARGUMENTS = StreamPattern(BLANKS, tokens.CALL_ENDS)
JSON_BEGINNING = StreamPattern(BLANKS, ("{", "["))
MINIMAX_BEGINNING = StreamPattern(BLANKS, tokens.MINIMAX_INVOKE)
MINIMAX_HEAD = StreamPattern(
    BLANKS, "name=", Run("[\"']", 1, 1), NAME, Run("[\"']", 1, 1), BLANKS, ">"
)
MISTRAL_NAME = StreamPattern(
    BLANKS, NAME, BLANKS, (tokens.MISTRAL_ARGUMENTS, tokens.MISTRAL_ID, "{")
)
MISTRAL_CALL_ID = StreamPattern(Run(r"[\w\-]", 1, 128, is_group=True), tokens.MISTRAL_ARGUMENTS)
LLAMA_BEGINNING = StreamPattern(BLANKS, "{")
LLAMA_PYTHON = StreamPattern(BLANKS, Run(r"\[", 0, 1), Run(r"[\w.\-]", 1, 256, is_group=True), "(")
HARMONY_HEAD = StreamPattern(Run(r"[^<\n{}]", 0, 256, is_group=True), tokens.HARMONY_HEAD_TOKENS)
MOST_HEAD_PARTS = 4
RECIPIENT = re.compile(r"\bto=(?:functions[.:]?)?([\w.\-]+)")
KIMI_CALL_ID = re.compile(r"functions\.[\w\-.]+:\d+")
# brackets and texts of Python
PYTHON_TOKENS = re.compile(
    r"[^()\[\]{}'\"]+|'(?:[^'\\]++|\\.)*+'|\"(?:[^\"\\]++|\\.)*+\"|[()\[\]{}]", re.DOTALL
)
MOST_PYTHON_CHARS = 16_384
OPENING_BRACKETS = frozenset("([{")
CLOSING_BRACKETS = frozenset(")]}")


class TokenScanner:
    """The reading of calls between special tokens."""

    __slots__ = ("_collector", "_text")

    def __init__(self, text: ScannedText, collector: CallCollector) -> None:
        self._text = text
        self._collector = collector

    def read_call(self, opener: str) -> Steps[None]:
        """Read the call after one of the tokens; the text is released if it is none."""
        text = self._text
        text.begin_holding()
        text.take_chars(len(opener))
        if opener in tokens.JSON_OPENERS:
            yield from self._read_json_calls(opener)
        elif opener in tokens.MINIMAX_OPENERS:
            yield from self._read_minimax_call(opener)
        elif opener == tokens.MISTRAL_OPENER:
            yield from self._read_mistral_call()
        elif opener in tokens.LLAMA_OPENERS:
            yield from self._read_llama_calls()
        elif opener in tokens.HARMONY_OPENERS:
            yield from self._read_harmony_call()
        else:
            yield from self._read_headed_call(opener)

    # --- Kimi and DeepSeek ------------------------------------------------------------------------
    def _read_headed_call(self, opener: str) -> Steps[None]:
        """Read one call of a section; the section's other calls begin with a token of their own."""
        text = self._text
        if opener in tokens.SECTION_TOKENS:
            beginning = yield from text.match_pattern(CALL_BEGINNING)
            if beginning:
                text.take_to(beginning.end())
        head = yield from text.match_pattern(CALL_HEAD)
        if not head:
            text.release_held()
            return
        text.take_to(head.end())
        label = head[1].strip()
        fenced_head = yield from text.match_pattern(FENCED_HEAD)
        if fenced_head:
            text.take_to(fenced_head.end() - 1)
            label = fenced_head[1]
        name = resolve_tool_name(label, self._collector.tools)
        if not name:
            text.release_held()
            return
        closers = (*tokens.CALL_ENDS, *tokens.SECTION_ENDS)
        no_arguments = yield from text.match_pattern(NO_ARGUMENTS)
        call_id = label if KIMI_CALL_ID.fullmatch(label) else ""
        if no_arguments:
            self._collector.settle_call(WrittenCall(name, "{}", call_id), closers=closers)
            return
        call = yield from self._collector.read_arguments(name, tokens.CALL_ENDS, call_id)
        if call and fenced_head:
            fence_end = yield from text.match_pattern(FENCE_END)
            if fence_end:
                text.take_to(fence_end.end())
        self._collector.settle_call(call, closers=closers)

    # --- Mistral ----------------------------------------------------------------------------------
    def _read_mistral_call(self) -> Steps[None]:
        text = self._text
        call_list = yield from text.match_pattern(JSON_BEGINNING)
        if call_list:
            text.take_to(call_list.end() - 1)
            calls = yield from self._collector.take_value_calls(
                is_tagged=True, ends=tokens.MISTRAL_ENDS, keeps_ids=True
            )
            self._collector.settle_calls(calls, closers=tokens.MISTRAL_ENDS)
            return
        head = yield from text.match_pattern(MISTRAL_NAME)
        name = resolve_tool_name(head[1], self._collector.tools) if head else ""
        if not head or not name:
            text.release_held()
            return
        text.take_to(head.end() - (head[2] == "{"))
        call_id = ""
        if head[2] == tokens.MISTRAL_ID:
            id_match = yield from text.match_pattern(MISTRAL_CALL_ID)
            if id_match:
                text.take_to(id_match.end())
                call_id = id_match[1]
        call = yield from self._collector.read_arguments(name, tokens.MISTRAL_ENDS, call_id)
        self._collector.settle_call(call, closers=tokens.MISTRAL_ENDS)

    # --- Cohere, Granite, InternLM, Phi -----------------------------------------------------------
    def _read_json_calls(self, opener: str) -> Steps[None]:
        """Read the list of calls, or the calls, behind a token."""
        text = self._text
        if opener in tokens.PHI_OPENERS:
            text.put_back(1)  # the bracket of the list
        beginning = yield from text.match_pattern(JSON_BEGINNING)
        if not beginning:
            text.release_held()
            return
        text.take_to(beginning.end() - 1)
        yield from self._collector.take_objects(ends=tokens.JSON_ENDS, closers=tokens.JSON_ENDS)

    # --- MiniMax M3 -------------------------------------------------------------------------------
    def _read_minimax_call(self, opener: str) -> Steps[None]:
        """Read one call of a section; the section's other calls begin with a tag of their own."""
        text = self._text
        if opener == tokens.MINIMAX_SECTION:
            beginning = yield from text.match_pattern(MINIMAX_BEGINNING)
            if not beginning:
                text.release_held()
                return
            text.take_to(beginning.end())
        head = yield from text.match_pattern(MINIMAX_HEAD)
        name = resolve_tool_name(head[1], self._collector.tools) if head else ""
        if not head or not name:
            text.release_held()
            return
        text.take_to(head.end())
        body = yield from text.take_until(tokens.MINIMAX_INVOKE_END)
        arguments = None
        if body is not None and text.is_holding:
            schema = ArgumentSchema(self._collector.tools[name])
            arguments = parse_minimax_arguments(body, schema)
        call = build_written_call(name, arguments) if arguments is not None else None
        self._collector.settle_call(call, closers=tokens.MINIMAX_ENDS)

    # --- Llama ------------------------------------------------------------------------------------
    def _read_llama_calls(self) -> Steps[None]:
        """Read the calls behind Llama's token: JSON objects, or Python."""
        text = self._text
        beginning = yield from text.match_pattern(LLAMA_BEGINNING)
        if beginning:
            text.take_to(beginning.end() - 1)
            yield from self._collector.take_objects(
                ends=tokens.LLAMA_ENDS, closers=tokens.LLAMA_ENDS
            )
            return
        call = yield from text.match_pattern(LLAMA_PYTHON)
        if not call:
            text.release_held()
            return
        text.take_to(text.position + len(call[0]) - len(call[0].lstrip()))
        yield from self.read_python(is_tagged=True)

    def read_python(self, *, is_tagged: bool) -> Steps[None]:
        """Read calls in Python; without special tokens they must be the whole rest of the line.

        The text is held already. It is released if it is no call of the tools.
        """
        text = self._text
        mark = text.mark_held()
        is_complete = yield from self._take_python()
        calls = []
        if is_complete and text.is_holding:
            calls = self._collector.build_calls(parse_python_calls(text.read_held(mark)))
        if calls and not is_tagged:
            yield from text.take_run(forms.LINE_BLANKS)
            if text.next_char not in ("", "\n", "<"):
                calls = []
        self._collector.settle_calls(calls, closers=tokens.LLAMA_ENDS)

    def _take_python(self) -> Steps[bool]:
        """Take an expression to its last closing bracket; return False if it breaks off."""
        text = self._text
        depth = 0
        most_chars = MOST_PYTHON_CHARS
        while most_chars > 0:
            token = PYTHON_TOKENS.match(text.window, text.position)
            if token:
                text.take_to(token.end())
                most_chars -= len(token[0])
                depth += (token[0] in OPENING_BRACKETS) - (token[0] in CLOSING_BRACKETS)
                if depth <= 0 and token[0] in CLOSING_BRACKETS:
                    return depth == 0
            elif text.is_final or len(text.window) - text.position > MOST_PYTHON_CHARS:
                return False
            else:
                yield
        return False

    # --- harmony ----------------------------------------------------------------------------------
    def _read_harmony_call(self) -> Steps[None]:
        """Read a message to a function; any other message is text."""
        text = self._text
        header = ""
        for _ in range(MOST_HEAD_PARTS):
            part = yield from text.match_pattern(HARMONY_HEAD)
            if not part:
                break
            text.take_to(part.end())
            header += f"{part[1]} "
            if part[2] == tokens.HARMONY_MESSAGE:
                break
        recipient = RECIPIENT.search(header)
        name = ""
        if part and part[2] == tokens.HARMONY_MESSAGE and recipient:
            name = resolve_tool_name(recipient[1], self._collector.tools)
        if not name:
            text.release_held()
            return
        call = yield from self._collector.read_arguments(name, tokens.HARMONY_ENDS)
        self._collector.settle_call(call, closers=tokens.HARMONY_ENDS)
