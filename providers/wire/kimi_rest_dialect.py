"""The dialect of Kimi's older web interface: questions, and events -> chunks. No I/O.

An event is `{"event": name, …}`: `req` and `resp` (ids), `cmpl` (text), `k1` and `think`
(thinking), `zone_set` (the following texts are thinking, or not), `search_plus` (a result),
`length` (cut, can be continued), `error` (refused), `all_done`. The end is `all_done`, a literal
[DONE] or the end of the body; other events are ignored. Source: published clients of the site.
"""

from typing import Any

from providers.exceptions import Contended, Rejected
from providers.filters.citations import Citations, Sources
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, delta
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.upstream.error_mapping import refusal
from providers.upstream.stream_reader import DONE, AnySplitter, DialectReader
from providers.wire import kimi_common
from providers.wire.json_reader import loads_raw

AGENT = "kimi"
CONTINUATIONS = 5
THOUGHTS = ("thought", "thinking")  # zones of thinking


# --- requests -------------------------------------------------------------------------------------
def agent(model: UpstreamModel) -> str:
    return str(model.options.get("kimiplus_id") or AGENT)


def continuations(model: UpstreamModel) -> int:
    """Return how often an answer that was cut for its length is continued."""
    times = model.options.get("continuations")
    return times if isinstance(times, int) and times >= 0 else CONTINUATIONS


def new_chat(model: UpstreamModel) -> dict[str, Any]:
    fixed = {
        "name": "New chat",
        "born_from": "home",
        "is_example": False,
        "source": "web",
        "tags": [],
    }
    return fixed | {"kimiplus_id": agent(model)}


def question(model: UpstreamModel, text: str, refs: list[str]) -> dict[str, Any]:
    """Return the request body; `refs` are ids of uploaded images and files."""
    body = {
        "model": model.name,
        "messages": [{"role": "user", "content": text}],
        "kimiplus_id": agent(model),
        "extend": {"sidebar": True},
        "refs": refs,
        "history": [],
        "scene_labels": [],
        "use_semantic_memory": False,
        "use_deep_research": False,
    }
    body |= {name: value for name, value in model.options.items() if name.startswith("use_")}
    return (
        body
        | kimi_common.as_object(model.options.get("extra"))
        | {"use_search": kimi_common.searches(model)}
    )


def go_on(model: UpstreamModel, segment_id: str) -> dict[str, Any]:
    asked = {
        "segment_id": segment_id,
        "action": "continue",
        "messages": [{"role": "user", "content": " "}],
    }
    return asked | {"kimiplus_id": agent(model), "extend": {"sidebar": True}}


def parsed(data: bytes) -> bool:
    """Return whether an event says that a file has been read. Raises Rejected if it cannot be."""
    try:
        event = kimi_common.as_object(loads_raw(data))
    except ValueError:
        return False
    status = event.get("status") or kimi_common.as_object(event.get("file_info")).get("status")
    if status in ("failed", "error"):
        raise Rejected("The upstream cannot read the file.", param="messages")
    return status in ("parsed", "initialized")


# --- answers --------------------------------------------------------------------------------------
class Answer:
    """One answer, over all its continuations.

    `cut`: it can be continued. Call `again` before the next stream is read.
    """

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        self._request = request
        self._attempt = attempt
        self._secret = secret
        self._sources = Sources()
        self._results = 0
        self._content = Citations(self._sources)
        self._reasoning = Citations(self._sources, cite=False)
        self._zone: Any = None
        self._said = self._long = self._ended = False
        self.segment_id = ""
        self.continuations = 0
        self.over = self.cut = False

    def again(self) -> None:
        self.over = self.cut = self._long = False
        self.continuations -= 1

    def read(self, data: bytes) -> list[Chunk]:
        if data.strip() == DONE:
            self.over = True
            return self.close()
        event = loads_raw(data)
        if not isinstance(event, dict):
            raise ValueError("no object")
        name = event.get("event")
        if name in ("cmpl", "k1", "think"):
            return self._text(event, thought=name != "cmpl" or self._zone in THOUGHTS)
        if name == "error" or "error_type" in event:
            return self._refused(event)
        if name == "all_done":
            return self.close()
        self._note(name, event)
        return []

    def close(self) -> list[Chunk]:
        if self._ended:
            return []
        if self._long and self.segment_id and self.continuations > 0:
            self.over = self.cut = True
            return []
        if not self._said:
            raise Contended("The upstream ended its answer without a word.")
        return self._end("length" if self._long else "stop")

    def _end(self, reason: str) -> list[Chunk]:
        self._ended = True
        found = self._content.annotations or self._sources.all(self._content.length)
        chunks = [delta(self._request, annotations=found)] if found else []
        return [*chunks, delta(self._request, finish_reason=reason)]

    def _text(self, event: dict[str, Any], *, thought: bool) -> list[Chunk]:
        text = event.get("text")
        if not isinstance(text, str):  # k1 events also report searches
            return []
        text = (self._reasoning if thought else self._content).text(text)
        if not text:
            return []
        self._said = True
        return [delta(self._request, **{"reasoning_content" if thought else "content": text})]

    def _refused(self, event: dict[str, Any]) -> list[Chunk]:
        """Raise the error of an event, or end an answer that the site stopped.

        An error of an unknown kind means that the site refuses the subject. If text has come
        already, the answer ends with "content_filter"; otherwise an error with this code is raised.
        """
        error = kimi_common.error_in(event) or {"code": "", "message": kimi_common.NO_REASON}
        if error["code"].lower() in kimi_common.ERRORS:
            raise refusal(kimi_common.ERRORS, None, error, {}, secret=self._secret)
        if self._said:
            self.over = True
            return self._end("content_filter")
        raise refusal(
            kimi_common.ERRORS, None, error | {"code": "content_filter"}, {}, secret=self._secret
        )

    def _note(self, name: Any, event: dict[str, Any]) -> None:
        if name == "req":
            self.segment_id = kimi_common.safe_id(event.get("id")) or self.segment_id
        elif name == "resp":
            self._attempt.parent_id = kimi_common.safe_id(event.get("id"))
        elif name == "zone_set":
            self._zone = event.get("zone_type")
        elif name == "length":
            self._long = True
        elif name == "search_plus":
            message = kimi_common.as_object(event.get("msg"))
            if message.get("type") == "get_res":
                self._results += 1
                self._sources.add(self._results, message.get("url"), message.get("title"))


class Reader(DialectReader):
    """A DialectReader over several streams of one answer."""

    __slots__ = ()

    def again(self, splitter: AnySplitter) -> None:
        self._splitter = splitter
        self.over = self.done = False
