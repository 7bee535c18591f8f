"""The dialect of Kimi's present web interface: questions, and events -> chunks. No I/O.

Each frame has an event `{op, mask, block | message | chat | done | error | heartbeat}`. The mask
names the changed fields; the event shows them anyway, so it is not read. `set` brings all of a
text, `append` a piece of it. Unknown events are ignored. The last frame is Connect's trailer.
Source: published clients of the site.
"""

import re

from providers.exceptions import BadResponse, Contended
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.upstream.error_mapping import map_error_answer
from providers.wire import connect, kimi_common
from providers.wire.json_reader import read_raw_json
from providers.wire.kimi_answer import KimiAnswer
from providers.wire.kimi_common import as_list, as_object
from providers.wire.snapshots import find_resumption

# words in the status of a finished stage
FINISHED_STATUS = re.compile("(?<![a-z])(?:end|done|finish|complet|cancel)", re.IGNORECASE)


def build_web_question(
    model: UpstreamModel, text: str, chat_id: str = "", parent_id: str = ""
) -> JsonObject:
    """Return the request body.

    A chat and its last message are named only if the chat is continued: the site refuses empty ids.
    """
    options = model.options
    scenario = options.get("scenario") or model.name
    block = {"message_id": "", "text": {"content": text}}
    message: JsonObject = {"role": "user", "blocks": [block], "scenario": scenario}
    if parent_id:
        message["parent_id"] = parent_id
    tools = []
    if kimi_common.wants_web_search(model):
        tools.append({"type": "TOOL_TYPE_SEARCH", "search": options.get("search") or {}})
    question = {
        "scenario": scenario,
        "tools": tools,
        "message": message,
        "options": options.get("options") or {"thinking": False},
    }
    if chat_id:
        question["chat_id"] = chat_id
    return question | as_object(options.get("extra"))


class KimiWebAnswer(KimiAnswer):
    """One answer.

    If thinking has no block of its own, a stage or the text's flags say that the text is thinking.
    """

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        super().__init__(request, attempt, secret)
        self._block_texts: dict[str, list[str]] = {}  # the text of each block so far
        self._is_thinking = False
        self._has_thinking_blocks = False

    def read(self, data: bytes) -> list[Chunk]:
        if data[0] & connect.COMPRESSED_FLAG:
            raise BadResponse("The upstream compressed its answer although not offered to.")
        is_trailer = bool(data[0] & connect.TRAILER_FLAG)
        event = read_raw_json(data[1:])
        if not isinstance(event, dict):
            raise ValueError("no object")
        block = as_object(event.get("block"))
        self._raise_event_error(event, block)
        self.over = is_trailer
        if is_trailer or "done" in event:
            return self._end_answer()
        self._record_chat_ids(event)
        self._add_sources(event, block)
        self._record_stage(block)
        return self._read_block(block, is_whole=event.get("op") != "append")

    def close(self) -> list[Chunk]:
        return []  # a complete stream has ended with its trailer

    def _raise_event_error(self, event: JsonObject, block: JsonObject) -> None:
        """Raise the error of an event or of its block, if there is one."""
        event_error = event.get("error", as_object(block.get("exception")).get("error"))
        if event_error is None:
            return
        error = kimi_common.read_kimi_error({"error": event_error})
        error = error or {"message": kimi_common.UNEXPLAINED_FAILURE}
        raise map_error_answer(kimi_common.ERRORS, None, error, {}, secret=self._secret)

    def _end_answer(self) -> list[Chunk]:
        if self.has_ended:
            return []
        if not self._has_text:
            raise Contended("The upstream ended its answer without a word.")
        return self._render_finish("stop", self._content.annotations)

    def _record_chat_ids(self, event: JsonObject) -> None:
        """Note the ids of the chat and of its last message."""
        if chat_id := kimi_common.safe_id(as_object(event.get("chat")).get("id")):
            self._attempt.chat_id = chat_id
        message = as_object(event.get("message"))
        if message.get("role") == "assistant" and (
            message_id := kimi_common.safe_id(message.get("id"))
        ):
            self._attempt.parent_id = message_id

    def _add_sources(self, event: JsonObject, block: JsonObject) -> None:
        """Add the search results of a block or of the message."""
        references = as_object(as_object(event.get("message")).get("refs"))
        contents = as_list(as_object(block.get("tool")).get("contents"))
        for content in contents + as_list(references.get("searchChunks")):
            result = as_object(as_object(content).get("searchResult")) or as_object(content)
            base = as_object(result.get("base"))
            self._sources.add_source(result.get("refIndex"), base.get("url"), base.get("title"))

    def _record_stage(self, block: JsonObject) -> None:
        """Note whether the following texts are thinking."""
        stages = [*as_list(as_object(block.get("multiStage")).get("stages")), block.get("stage")]
        for stage in map(as_object, stages):
            if stage.get("name") == "STAGE_NAME_THINKING":
                self._is_thinking = not FINISHED_STATUS.search(str(stage.get("status")))
        flags = as_object(block.get("text")).get("flags")
        if flags in ("thinking", "answer"):
            self._is_thinking = flags == "thinking"

    def _read_block(self, block: JsonObject, *, is_whole: bool) -> list[Chunk]:
        chunks = []
        for kind in ("think", "text"):
            text = as_object(block.get(kind)).get("content")
            if not isinstance(text, str):
                continue
            if kind == "think":
                self._has_thinking_blocks = True
            is_thought = kind == "think" or (self._is_thinking and not self._has_thinking_blocks)
            text = self._take_new_text(f"{block.get('id')} {kind}", text, is_whole=is_whole)
            chunks += self._render_text(text, is_thought=is_thought)
        return chunks

    def _take_new_text(self, key: str, text: str, *, is_whole: bool) -> str:
        """Return the part of `text` that has not come yet.

        Of a whole text that changes text sent before, the part after the sent text is new, where
        that can be found.
        """
        if not is_whole:
            self._block_texts.setdefault(key, []).append(text)
            return text
        known_text = "".join(self._block_texts.get(key, ()))
        new_text = ""
        if text.startswith(known_text):
            new_text = text[len(known_text) :]
        elif known_text.startswith(text):
            text = known_text
        elif (resumption := find_resumption(known_text, text)) >= 0:
            new_text = text[resumption:]
        self._block_texts[key] = [text]  # the joined text, so that the pieces are joined only once
        return new_text
