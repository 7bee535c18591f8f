"""The responses that a connection remembers with their items, so that a turn can follow them.

A response with `store: false` is nowhere else. It is remembered until the next response of its lane
has ended, or until a turn that follows it fails. Source: OpenAI's guide "WebSocket mode".
"""

from msgspec import Struct

from api.relay.response_sockets import ResponseSockets
from api.views.responses.response_turns import EarlierItems
from providers.fast_settings import settings

Lane = str | None  # a `stream_id`; None is the lane of requests without one


class LocalResponse(Struct, frozen=True):
    """A response that can be followed on its connection; `size_bytes` is about its memory."""

    items: EarlierItems
    size_bytes: int


class LocalResponses:
    """The latest response of each lane, by its id, within the bounds of connection and process."""

    def __init__(self, sockets: ResponseSockets) -> None:
        self._sockets = sockets
        self._responses: dict[str, LocalResponse] = {}
        self._ids_by_lane: dict[Lane, str] = {}
        self._size_bytes = 0

    def find_response(self, response_id: str) -> LocalResponse | None:
        """Return the response, or None when the connection does not remember it."""
        return self._responses.get(response_id)

    def advance_lane(self, lane: Lane, response_id: str, response: LocalResponse | None) -> None:
        """Remember the lane's new response instead of the one before it.

        `response` is None when it is stored. One without room is not remembered.
        """
        self.evict_response(self._ids_by_lane.get(lane, ""))
        if response is None or not self._has_room(response.size_bytes):
            self._ids_by_lane.pop(lane, None)
            return
        self._ids_by_lane[lane] = response_id
        self._responses[response_id] = response
        self._add_bytes(response.size_bytes)

    def evict_response(self, response_id: str) -> None:
        """Forget a response, if it is remembered."""
        response = self._responses.pop(response_id, None)
        if response is not None:
            self._add_bytes(-response.size_bytes)

    def clear(self) -> None:
        """Forget everything: the connection has ended."""
        for response_id in list(self._responses):
            self.evict_response(response_id)
        self._ids_by_lane.clear()

    def _has_room(self, size_bytes: int) -> bool:
        """Return whether connection and process can remember so many bytes more."""
        own_left = settings.RESPONSE_SOCKET_STATE_BYTES - self._size_bytes
        all_left = settings.RESPONSE_SOCKETS_STATE_BYTES - self._sockets.state_bytes
        return bool(size_bytes <= min(own_left, all_left))

    def _add_bytes(self, size_bytes: int) -> None:
        """Count bytes that are remembered, or forgotten if negative."""
        self._size_bytes += size_bytes
        self._sockets.state_bytes += size_bytes
