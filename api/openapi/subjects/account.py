"""The endpoints about the caller's own key and usage, and about the gateway itself."""

from api.openapi.endpoint import JSON_TYPE, Answer, Endpoint, Parameter, Subject

ACCOUNT = Subject(
    "Key and usage",
    "What the key may do, what was used and what it cost. None of these is OpenAI's.",
    (
        Endpoint(
            "get",
            "/v1/key",
            "Show the key, its models and what is left of its limits",
            Answer("The key.", {JSON_TYPE: "KeyReport"}),
        ),
        Endpoint(
            "get",
            "/v1/usage",
            "Add up requests, tokens and cost",
            Answer("The sums.", {JSON_TYPE: "UsageReport", "text/csv": ""}),
            parameters=(
                Parameter(
                    "group_by",
                    "day, hour, model, key, user, team or status, several separated by commas; "
                    "provider and token for staff.",
                    example="day,model",
                ),
                Parameter("from", "A date or a time, in UTC if it names no offset."),
                Parameter("to", "A date or a time; a date means the end of that day."),
                Parameter("scope", "key, user, or all for staff.", {"type": "string"}),
                Parameter("format", "json or csv.", {"type": "string"}),
                Parameter("limit", "How many groups at most.", {"type": "integer", "minimum": 1}),
            ),
        ),
        Endpoint(
            "get",
            "/v1/requests/{request_id}",
            "Show how one of your requests went",
            Answer("The request.", {JSON_TYPE: "RequestReport"}),
            path_texts={"request_id": "The id of its header x-request-id, req_…"},
        ),
    ),
)

HEALTH = Subject(
    "Health",
    "For load balancers and monitors; no key is needed.",
    (
        Endpoint(
            "get",
            "/health",
            "Show the version and whether the background work runs",
            Answer("The state.", {JSON_TYPE: "Health"}),
            is_open=True,
        ),
        Endpoint(
            "get",
            "/healthz",
            "Say that the process lives",
            Answer("ok", {"text/plain": ""}),
            is_open=True,
        ),
        Endpoint(
            "get",
            "/readyz",
            "Say whether requests can be taken",
            Answer("ready; else the status is 503 and the text says why.", {"text/plain": ""}),
            is_open=True,
        ),
        Endpoint(
            "get",
            "/metrics",
            "Show the figures of the gateway, for Prometheus",
            Answer("Figures in Prometheus's text format.", {"text/plain": ""}),
        ),
    ),
)
