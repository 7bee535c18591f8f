"""The answers of a caller to requests for approval: which calls are to be made now.

A refusal becomes a message beside it, so that the model knows why nothing came back. Source:
OpenAI's guide "Connectors and MCP servers", "Approvals".
"""

from collections.abc import Mapping

from conversations.server_tools.tool_plan import ApprovedCall
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

RESPONSE_TYPE = "mcp_approval_response"
REQUEST_TYPE = "mcp_approval_request"
REQUEST_FIELDS = ("server_label", "name", "arguments")


def list_responses(body: JsonObject) -> list[tuple[int, JsonObject]]:
    """Return the answers in a body's input, with their positions."""
    items = body.get("input")
    if not isinstance(items, list):
        return []
    return [(place, item) for place, item in enumerate(items) if item.get("type") == RESPONSE_TYPE]


def find_unknown_ids(body: JsonObject) -> list[str]:
    """Return the ids of the requests that are answered, and are not in the input themselves."""
    own = list_own_requests(body)
    ids = (item.get("approval_request_id") for _, item in list_responses(body))
    return [
        request_id for request_id in ids if isinstance(request_id, str) and request_id not in own
    ]


def list_own_requests(body: JsonObject) -> dict[str, JsonObject]:
    """Return the requests for approval in a body's input by their ids."""
    items = body.get("input")
    return {
        item["id"]: item
        for item in (items if isinstance(items, list) else ())
        if item.get("type") == REQUEST_TYPE and isinstance(item.get("id"), str)
    }


def read_approvals(
    body: JsonObject, stored_items: Mapping[str, JsonObject], labels: list[str]
) -> tuple[list[ApprovedCall], JsonObject]:
    """Return the approved calls, and the body with a message for each refused one.

    `stored_items` are the caller's own by their ids; `labels` are those of the offered servers. A
    call that has been made already, as its item in the input shows, is not made again. Raises
    InvalidRequest.
    """
    responses = list_responses(body)
    if not responses:
        return [], body
    requests = {**stored_items, **list_own_requests(body)}
    approved_calls: list[ApprovedCall] = []
    items = list(body["input"])
    made_ids = {item.get("approval_request_id") for item in items if item.get("type") == "mcp_call"}
    for place, response in reversed(responses):
        path = f"input[{place}]"
        request = find_request(response, requests, path)
        if not isinstance(response.get("approve"), bool):
            raise InvalidRequest("An approval is true or false.", param=f"{path}.approve")
        if not response["approve"]:
            items.insert(place + 1, make_refusal_message(request, response))
            continue
        if request["server_label"] not in labels:
            message = f"The tools have no MCP server {request['server_label']!r}."
            raise InvalidRequest(message, param=f"{path}.approval_request_id")
        approval_id = response["approval_request_id"]
        if approval_id not in made_ids:
            fields = [str(request[name]) for name in REQUEST_FIELDS]
            approved_calls.insert(0, ApprovedCall(approval_id, *fields))
    return approved_calls, {**body, "input": items}


def find_request(response: JsonObject, requests: Mapping[str, JsonObject], path: str) -> JsonObject:
    """Return the request that is answered. Raises InvalidRequest when there is none."""
    request = requests.get(str(response.get("approval_request_id")))
    is_whole = request is not None and all(
        isinstance(request.get(name), str) for name in REQUEST_FIELDS
    )
    if request is None or request.get("type") != REQUEST_TYPE or not is_whole:
        message = "There is no request for approval with this id."
        param = f"{path}.approval_request_id"
        raise InvalidRequest(message, param=param, code="item_not_found")
    return request


def make_refusal_message(request: JsonObject, response: JsonObject) -> JsonObject:
    """Return the message that says which call was refused, and why."""
    reason = response.get("reason")
    text = f"I do not approve the call of {request['name']} with {request['arguments']}."
    if isinstance(reason, str) and reason:
        text = f"{text} {reason}"
    return {"type": "message", "role": "user", "content": text}
