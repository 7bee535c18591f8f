"""The errors for ids that lead to nothing.

Another user's, an expired and an unknown resource raise the same error.
"""

from providers.exceptions import UnknownUrl

SHOWN_ID_CHARS = 64  # characters of an unknown id that an error repeats


def make_unknown_error(noun: str, resource_id: str, *, param: str, code: str) -> UnknownUrl:
    """Return the error for an unknown id, which the request named in `param`."""
    return UnknownUrl(
        f"There is no {noun} {resource_id[:SHOWN_ID_CHARS]!r}.", param=param, code=code
    )


def unknown_conversation(conversation_id: str) -> UnknownUrl:
    return make_unknown_error(
        "conversation", conversation_id, param="id", code="conversation_not_found"
    )


def unknown_item(item_id: str, param: str) -> UnknownUrl:
    return make_unknown_error("item", item_id, param=param, code="item_not_found")


def unknown_completion(completion_id: str) -> UnknownUrl:
    return make_unknown_error(
        "stored chat completion", completion_id, param="id", code="completion_not_found"
    )


def unknown_message(message_id: str) -> UnknownUrl:
    return make_unknown_error("message", message_id, param="after", code="message_not_found")


def unknown_session(name: str) -> UnknownUrl:
    return make_unknown_error("session", name, param="session_id", code="session_not_found")
