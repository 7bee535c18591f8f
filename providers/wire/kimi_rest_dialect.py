"""The dialect of Kimi's older web interface: questions, and events -> chunks. No I/O.

An event is `{"event": name, …}`: `req` and `resp` (ids), `cmpl` (text), `k1` and `think`
(thinking), `zone_set` (the following texts are thinking, or not), `search_plus` (a result),
`length` (cut, can be continued), `error` (refused), `all_done`. The end is `all_done`, a literal
[DONE] or the end of the body; other events are ignored. Source: published clients of the site.
"""

import re

from providers.exceptions import Contended, Rejected
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.upstream.error_mapping import map_error_answer
from providers.upstream.stream_reader import DONE, AnySplitter, DialectReader
from providers.wire import kimi_common
from providers.wire.json_reader import read_raw_json
from providers.wire.kimi_answer import KimiAnswer

DEFAULT_AGENT = "kimi"
DEFAULT_CONTINUATIONS = 5
THINKING_ZONES = ("thought", "thinking")
# words in the code or message of an error that means: the site does not talk about the subject
REFUSAL_WORDS = re.compile(
    r"content|unsafe|sensitive|moderat|censor|policy|illegal|complian|violat|敏感|违规|合规|违法",
    re.IGNORECASE,
)


# --- requests -------------------------------------------------------------------------------------
def choose_agent(model: UpstreamModel) -> str:
    """Return the id of the site's agent that answers."""
    return str(model.options.get("kimiplus_id") or DEFAULT_AGENT)


def read_continuation_limit(model: UpstreamModel) -> int:
    """Return how often an answer that was cut for its length is continued."""
    limit = model.options.get("continuations")
    return limit if isinstance(limit, int) and limit >= 0 else DEFAULT_CONTINUATIONS


def build_new_chat(model: UpstreamModel) -> JsonObject:
    """Return the request body that creates a chat."""
    return {
        "name": "New chat",
        "born_from": "home",
        "is_example": False,
        "source": "web",
        "tags": [],
        "kimiplus_id": choose_agent(model),
    }


def build_rest_question(model: UpstreamModel, text: str, file_ids: list[str]) -> JsonObject:
    """Return the request body; `file_ids` are ids of uploaded images and files."""
    body = {
        "model": model.name,
        "messages": [{"role": "user", "content": text}],
        "kimiplus_id": choose_agent(model),
        "extend": {"sidebar": True},
        "refs": file_ids,
        "history": [],
        "scene_labels": [],
        "use_semantic_memory": False,
        "use_deep_research": False,
    }
    body |= {name: value for name, value in model.options.items() if name.startswith("use_")}
    return (
        body
        | kimi_common.as_object(model.options.get("extra"))
        | {"use_search": kimi_common.wants_web_search(model)}
    )


def build_continuation(model: UpstreamModel, segment_id: str) -> JsonObject:
    """Return the request body that continues an answer which was cut for its length."""
    return {
        "segment_id": segment_id,
        "action": "continue",
        "messages": [{"role": "user", "content": " "}],
        "kimiplus_id": choose_agent(model),
        "extend": {"sidebar": True},
    }


def is_file_parsed(data: bytes) -> bool:
    """Return whether an event says that a file has been read. Raises Rejected if it cannot be."""
    try:
        event = kimi_common.as_object(read_raw_json(data))
    except ValueError:
        return False
    status = event.get("status") or kimi_common.as_object(event.get("file_info")).get("status")
    if status in ("failed", "error"):
        raise Rejected("The upstream cannot read the file.", param="messages")
    return status in ("parsed", "initialized")


# --- answers --------------------------------------------------------------------------------------
class KimiRestAnswer(KimiAnswer):
    """One answer, over all its continuations.

    `can_continue`: it can be continued. Call `begin_continuation` before the next stream is read.
    """

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        super().__init__(request, attempt, secret)
        self._result_count = 0
        self._zone: object = None
        self._has_reached_length = False
        self.segment_id = ""
        self.remaining_continuations = 0
        self.can_continue = False
        self.is_continued = False  # a stream that continues it is being read

    def end_cut_answer(self) -> list[Chunk]:
        """Return the last chunks of an answer that could not be continued to its end."""
        return self._end_answer("length")

    def begin_continuation(self) -> None:
        """Begin to read the stream that continues the answer."""
        self.is_continued = True
        self.over = False
        self.can_continue = False
        self._has_reached_length = False
        self.remaining_continuations -= 1

    def read(self, data: bytes) -> list[Chunk]:
        if data.strip() == DONE:
            self.over = True
            return self.close()
        event = read_raw_json(data)
        if not isinstance(event, dict):
            raise ValueError("no object")
        name = event.get("event")
        if name in ("k1", "think") or (name == "cmpl" and self._zone in THINKING_ZONES):
            return self._read_text_event(event, is_thought=True)
        if name == "cmpl":
            return self._read_text_event(event, is_thought=False)
        if name == "error" or "error_type" in event:
            return self._handle_error_event(event)
        if name == "all_done":
            return self.close()
        self._record_event(name, event)
        return []

    def close(self) -> list[Chunk]:
        if self.has_ended:
            return []
        if self._has_reached_length and self.segment_id and self.remaining_continuations > 0:
            self.over = True
            self.can_continue = True
            return []
        if not self._has_text:
            raise Contended("The upstream ended its answer without a word.")
        if self._has_reached_length:
            return self._end_answer("length")
        return self._end_answer("stop")

    def _end_answer(self, reason: str) -> list[Chunk]:
        annotations = self._content.annotations or self._sources.build_all_annotations(
            self._content.returned_chars
        )
        return self._render_finish(reason, annotations)

    def _read_text_event(self, event: JsonObject, *, is_thought: bool) -> list[Chunk]:
        text = event.get("text")
        if not isinstance(text, str):  # k1 events also report searches
            return []
        return self._render_text(text, is_thought=is_thought)

    def _handle_error_event(self, event: JsonObject) -> list[Chunk]:
        """Raise the error of an event, or end an answer that the site stopped.

        An error without a word, or with words about the content, means that the site refuses the
        subject. If text has come already, the answer ends with "content_filter"; otherwise an error
        with this code is raised.
        """
        error = kimi_common.read_kimi_error(event) or {
            "code": "",
            "message": kimi_common.UNEXPLAINED_FAILURE,
        }
        if not is_refused_subject(error):
            raise map_error_answer(kimi_common.ERRORS, None, error, {}, secret=self._secret)
        if self._has_text:
            self.over = True
            return self._end_answer("content_filter")
        raise map_error_answer(
            kimi_common.ERRORS, None, error | {"code": "content_filter"}, {}, secret=self._secret
        )

    def _record_event(self, name: object, event: JsonObject) -> None:
        if name == "req":
            self.segment_id = kimi_common.safe_id(event.get("id")) or self.segment_id
        elif name == "resp":
            self._attempt.parent_id = kimi_common.safe_id(event.get("id"))
        elif name == "zone_set":
            self._zone = event.get("zone_type")
        elif name == "length":
            self._has_reached_length = True
        elif name == "search_plus":
            self._add_source(kimi_common.as_object(event.get("msg")))

    def _add_source(self, message: JsonObject) -> None:
        """Add the search result of an event, if it reports one."""
        if message.get("type") == "get_res":
            self._result_count += 1
            self._sources.add_source(self._result_count, message.get("url"), message.get("title"))


def is_refused_subject(error: JsonObject) -> bool:
    """Return whether an error of the site means that it does not talk about the subject."""
    code = error["code"]
    if code.lower() in kimi_common.ERRORS:
        return False
    message = error["message"]
    if not code and message == kimi_common.UNEXPLAINED_FAILURE:
        return True
    return bool(REFUSAL_WORDS.search(code) or REFUSAL_WORDS.search(message))


class ContinuationReader(DialectReader):
    """A DialectReader over several streams of one answer."""

    __slots__ = ()

    def begin_next_stream(self, splitter: AnySplitter) -> None:
        self._splitter = splitter
        self.is_over = self.has_done_marker = False
