"""The dialect of Kimi's present web interface: questions, and events -> chunks. No I/O.

Each frame has an event `{op, mask, block | message | chat | done | error | heartbeat}`. The mask
names the changed fields; the event shows them anyway, so it is not read. `set` brings all of a
text, `append` a piece of it. Unknown events are ignored. The last frame is Connect's trailer.
Source: published clients of the site.
"""

import re
from typing import Any

from providers.exceptions import BadResponse, Contended
from providers.filters.citations import CitationReplacer, Sources
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.upstream.error_mapping import map_error_answer
from providers.wire import connect, kimi_common
from providers.wire.json_reader import read_raw_json
from providers.wire.kimi_common import as_list, as_object

FINISHED_STATUS = re.compile(
    "(?<![a-z])(?:end|done|finish|complet|cancel)", re.IGNORECASE
)  # words in the status of a finished stage


def build_web_question(
    model: UpstreamModel, text: str, chat_id: str = "", parent_id: str = ""
) -> dict[str, Any]:
    """Return the request body.

    A chat and its last message are named only if the chat is continued: the site refuses empty ids.
    """
    options = model.options
    scenario = options.get("scenario") or model.name
    block = {"message_id": "", "text": {"content": text}}
    message: dict[str, Any] = {"role": "user", "blocks": [block], "scenario": scenario}
    if parent_id:
        message["parent_id"] = parent_id
    search = [{"type": "TOOL_TYPE_SEARCH", "search": options.get("search") or {}}]
    return {
        "scenario": scenario,
        "tools": search if kimi_common.wants_web_search(model) else [],
        "message": message,
        "options": options.get("options") or {"thinking": False},
        **({"chat_id": chat_id} if chat_id else {}),
        **as_object(options.get("extra")),
    }


class KimiWebAnswer:
    """One answer.

    If thinking has no block of its own, a stage or the text's flags say that the text is thinking.
    """

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        self._request = request
        self._attempt = attempt
        self._secret = secret
        self._sources = Sources()
        self._content = CitationReplacer(self._sources)
        self._reasoning = CitationReplacer(self._sources, wants_footnotes=False)
        self._block_texts: dict[str, list[str]] = {}  # the text of each block so far
        self._is_thinking = self._has_thinking_blocks = self._has_text = self._has_ended = False
        self.over = False

    def read(self, data: bytes) -> list[Chunk]:
        if data[0] & connect.COMPRESSED_FLAG:
            raise BadResponse("The upstream compressed its answer although not offered to.")
        trailer = bool(data[0] & connect.TRAILER_FLAG)
        event = read_raw_json(data[1:])
        if not isinstance(event, dict):
            raise ValueError("no object")
        block = as_object(event.get("block"))
        failed = event.get("error", as_object(block.get("exception")).get("error"))
        if failed is not None:
            error = kimi_common.read_kimi_error({"error": failed}) or {
                "message": kimi_common.UNEXPLAINED_FAILURE
            }
            raise map_error_answer(kimi_common.ERRORS, None, error, {}, secret=self._secret)
        self.over = trailer
        if trailer or "done" in event:
            return self._end_answer()
        self._record_chat_ids(event)
        self._add_sources(event, block)
        self._record_stage(block)
        return self._read_block(block, is_whole=event.get("op") != "append")

    def close(self) -> list[Chunk]:
        return []  # a complete stream has ended with its trailer

    def _end_answer(self) -> list[Chunk]:
        if self._has_ended:
            return []
        if not self._has_text:
            raise Contended("The upstream ended its answer without a word.")
        self._has_ended = True
        cited = self._content.annotations
        chunks = [make_delta(self._request, annotations=cited)] if cited else []
        return [*chunks, make_delta(self._request, finish_reason="stop")]

    def _record_chat_ids(self, event: dict[str, Any]) -> None:
        """Note the ids of the chat and of its last message."""
        if chat_id := kimi_common.safe_id(as_object(event.get("chat")).get("id")):
            self._attempt.chat_id = chat_id
        message = as_object(event.get("message"))
        if message.get("role") == "assistant" and (
            message_id := kimi_common.safe_id(message.get("id"))
        ):
            self._attempt.parent_id = message_id

    def _add_sources(self, event: dict[str, Any], block: dict[str, Any]) -> None:
        refs = as_object(as_object(event.get("message")).get("refs"))
        for found in as_list(as_object(block.get("tool")).get("contents")) + as_list(
            refs.get("searchChunks")
        ):
            result = as_object(as_object(found).get("searchResult")) or as_object(found)
            base = as_object(result.get("base"))
            self._sources.add_source(result.get("refIndex"), base.get("url"), base.get("title"))

    def _record_stage(self, block: dict[str, Any]) -> None:
        stages = [*as_list(as_object(block.get("multiStage")).get("stages")), block.get("stage")]
        for stage in map(as_object, stages):
            if stage.get("name") == "STAGE_NAME_THINKING":
                self._is_thinking = not FINISHED_STATUS.search(str(stage.get("status")))
        flags = as_object(block.get("text")).get("flags")
        if flags in ("thinking", "answer"):
            self._is_thinking = flags == "thinking"

    def _read_block(self, block: dict[str, Any], *, is_whole: bool) -> list[Chunk]:
        chunks = []
        for kind in ("think", "text"):
            text = as_object(block.get(kind)).get("content")
            if not isinstance(text, str):
                continue
            self._has_thinking_blocks = self._has_thinking_blocks or kind == "think"
            thought = kind == "think" or (self._is_thinking and not self._has_thinking_blocks)
            text = self._take_new_text(f"{block.get('id')} {kind}", text, is_whole=is_whole)
            text = (self._reasoning if thought else self._content).replace_marks(text)
            if text:
                self._has_text = True
                chunks.append(
                    make_delta(
                        self._request, **{"reasoning_content" if thought else "content": text}
                    )
                )
        return chunks

    def _take_new_text(self, key: str, text: str, *, is_whole: bool) -> str:
        """Return the part of `text` that has not come yet.

        A whole text that changes text sent before is ignored: it is too late.
        """
        if is_whole:
            known = "".join(self._block_texts.get(key, ()))
            self._block_texts[key] = [
                known if known.startswith(text) else text
            ]  # keep the joined text, so that the pieces are joined only once
            return text.removeprefix(known) if text.startswith(known) else ""
        self._block_texts.setdefault(key, []).append(text)
        return text
