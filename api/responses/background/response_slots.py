"""The places for background responses, of which each user has BACKGROUND_PER_USER."""

from collections.abc import Callable


class ResponseSlot:
    """A user's place for one background response.

    As a context manager it frees the place at the end, unless `hold_response_slot` was called.
    """

    def __init__(self, user_id: int, slots_by_user: dict[int, int]) -> None:
        self._user_id = user_id
        self._slots_by_user = slots_by_user
        self._is_held = False

    def __enter__(self) -> "ResponseSlot":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._is_held:
            self.release_response_slot()

    def hold_response_slot(self) -> Callable[[object], None]:
        """Keep the place until the returned function is called, for example when a task ends."""
        self._is_held = True
        return lambda done: self.release_response_slot()

    def release_response_slot(self) -> None:
        slot_count = self._slots_by_user.get(self._user_id, 0) - 1
        if slot_count > 0:
            self._slots_by_user[self._user_id] = slot_count
        else:
            self._slots_by_user.pop(self._user_id, None)
