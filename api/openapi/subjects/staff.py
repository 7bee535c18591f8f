"""The JSON endpoints for staff, in the form of the K2Think proxy."""

from api.openapi.endpoint import JSON_TYPE, Answer, Body, Endpoint, Parameter, Subject

PROVIDER = Parameter(
    "provider", "The name of the provider; where there is one, it may be left out."
)
DONE = Answer("What was done.", {JSON_TYPE: "StaffAnswer"})


def describe_read(path: str, summary: str, schema: str = "StaffAnswer") -> Endpoint:
    answer = Answer("The state.", {JSON_TYPE: schema})
    return Endpoint(
        "get", f"/admin/{path}", summary, answer, parameters=(PROVIDER,), error_schema="StaffError"
    )


def describe_deed(
    path: str, summary: str, body: Body | None = None, name_text: str = ""
) -> Endpoint:
    return Endpoint(
        "post",
        f"/admin/{path}",
        summary,
        DONE,
        parameters=(PROVIDER,),
        path_texts={"name": name_text} if name_text else {},
        body=body or Body("StaffBody", {}, is_required=False),
        error_schema="StaffError",
    )


STAFF = Subject(
    "Staff",
    "For members of staff, with their API key or the session of the admin.",
    (
        describe_read("status", "Show a provider's mode and tokens", "PoolStatus"),
        describe_deed(
            "switch_mode", "Ask a provider in another mode", Body("ModeBody", {"mode": "user"})
        ),
        describe_read("tokens/stats", "Count the tokens by state"),
        describe_read("tokens/content", "List the tokens, masked"),
        describe_deed(
            "tokens/reset/{name}",
            "Reset a token",
            name_text="The id of a token, or its number in the list, from 0.",
        ),
        describe_deed("tokens/reset-all", "Reset all tokens"),
        describe_deed("tokens/reload", "Read the token file again"),
        describe_deed("tokens/check", "Check tokens at their upstreams"),
        describe_deed(
            "tokens/update", "Import tokens", Body("TokensBody", {"tokens": ["sk-example"]})
        ),
        describe_read("tokens/consecutive-failures", "Show a provider's failures in a row"),
        describe_deed("tokens/reset-consecutive", "Count the failures in a row from 0 again"),
        describe_read("tokens/updater/status", "Show the renewal of a provider's tokens"),
        describe_deed("tokens/updater/force-update", "Renew a provider's tokens now"),
    ),
)
