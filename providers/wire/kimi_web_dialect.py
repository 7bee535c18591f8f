"""The dialect of Kimi's present web interface: questions, and events -> chunks. No I/O.

Each frame has an event `{op, mask, block | message | chat | done | error | heartbeat}`. The mask
names the changed fields; the event shows them anyway, so it is not read. `set` brings all of a
text, `append` a piece of it. Unknown events are ignored. The last frame is Connect's trailer.
Source: published clients of the site.
"""

import re
from typing import Any

from providers.exceptions import BadResponse, Contended
from providers.filters.citations import Citations, Sources
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, delta
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.upstream.error_mapping import refusal
from providers.wire import connect, kimi_common
from providers.wire.json_reader import loads_raw
from providers.wire.kimi_common import as_list, as_object

ENDED = re.compile(
    "(?<![a-z])(?:end|done|finish|complet|cancel)", re.IGNORECASE
)  # words in the status of a finished stage


def question(
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
        "tools": search if kimi_common.searches(model) else [],
        "message": message,
        "options": options.get("options") or {"thinking": False},
        **({"chat_id": chat_id} if chat_id else {}),
        **as_object(options.get("extra")),
    }


class Answer:
    """One answer.

    If thinking has no block of its own, a stage or the text's flags say that the text is thinking.
    """

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        self._request = request
        self._attempt = attempt
        self._secret = secret
        self._sources = Sources()
        self._content = Citations(self._sources)
        self._reasoning = Citations(self._sources, cite=False)
        self._texts: dict[str, list[str]] = {}  # the text of each block so far
        self._thinking = self._apart = self._said = self._ended = False
        self.over = False

    def read(self, data: bytes) -> list[Chunk]:
        if data[0] & connect.COMPRESSED:
            raise BadResponse("The upstream compressed its answer although not offered to.")
        trailer = bool(data[0] & connect.TRAILER)
        event = loads_raw(data[1:])
        if not isinstance(event, dict):
            raise ValueError("no object")
        block = as_object(event.get("block"))
        failed = event.get("error", as_object(block.get("exception")).get("error"))
        if failed is not None:
            error = kimi_common.error_in({"error": failed}) or {"message": kimi_common.NO_REASON}
            raise refusal(kimi_common.ERRORS, None, error, {}, secret=self._secret)
        self.over = trailer
        if trailer or "done" in event:
            return self._end()
        self._note(event)
        self._find_sources(event, block)
        self._find_stage(block)
        return self._spoken(block, whole=event.get("op") != "append")

    def close(self) -> list[Chunk]:
        return []  # a complete stream has ended with its trailer

    def _end(self) -> list[Chunk]:
        if self._ended:
            return []
        if not self._said:
            raise Contended("The upstream ended its answer without a word.")
        self._ended = True
        cited = self._content.annotations
        chunks = [delta(self._request, annotations=cited)] if cited else []
        return [*chunks, delta(self._request, finish_reason="stop")]

    def _note(self, event: dict[str, Any]) -> None:
        """Note the ids of the chat and of its last message."""
        if chat_id := kimi_common.safe_id(as_object(event.get("chat")).get("id")):
            self._attempt.chat_id = chat_id
        message = as_object(event.get("message"))
        if message.get("role") == "assistant" and (
            message_id := kimi_common.safe_id(message.get("id"))
        ):
            self._attempt.parent_id = message_id

    def _find_sources(self, event: dict[str, Any], block: dict[str, Any]) -> None:
        refs = as_object(as_object(event.get("message")).get("refs"))
        for found in as_list(as_object(block.get("tool")).get("contents")) + as_list(
            refs.get("searchChunks")
        ):
            result = as_object(as_object(found).get("searchResult")) or as_object(found)
            base = as_object(result.get("base"))
            self._sources.add(result.get("refIndex"), base.get("url"), base.get("title"))

    def _find_stage(self, block: dict[str, Any]) -> None:
        stages = [*as_list(as_object(block.get("multiStage")).get("stages")), block.get("stage")]
        for stage in map(as_object, stages):
            if stage.get("name") == "STAGE_NAME_THINKING":
                self._thinking = not ENDED.search(str(stage.get("status")))
        flags = as_object(block.get("text")).get("flags")
        if flags in ("thinking", "answer"):
            self._thinking = flags == "thinking"

    def _spoken(self, block: dict[str, Any], *, whole: bool) -> list[Chunk]:
        chunks = []
        for kind in ("think", "text"):
            text = as_object(block.get(kind)).get("content")
            if not isinstance(text, str):
                continue
            self._apart = self._apart or kind == "think"
            thought = kind == "think" or (self._thinking and not self._apart)
            text = self._new(f"{block.get('id')} {kind}", text, whole=whole)
            text = (self._reasoning if thought else self._content).text(text)
            if text:
                self._said = True
                chunks.append(
                    delta(self._request, **{"reasoning_content" if thought else "content": text})
                )
        return chunks

    def _new(self, key: str, text: str, *, whole: bool) -> str:
        """Return the part of `text` that has not come yet.

        A whole text that changes text sent before is ignored: it is too late.
        """
        if whole:
            known = "".join(self._texts.get(key, ()))
            self._texts[key] = [
                known if known.startswith(text) else text
            ]  # keep the joined text, so that the pieces are joined only once
            return text.removeprefix(known) if text.startswith(known) else ""
        self._texts.setdefault(key, []).append(text)
        return text
