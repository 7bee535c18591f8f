import pytest

from proxysite.urls import LEAN_ROUTES


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/cot"),
        ("POST", "/v1/chat/completions/my-conversation"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/responses"),  # answered with 405
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/web_search"),
        ("POST", "/tokenize"),
        ("POST", "/v1/detokenize"),
        ("GET", "/readyz"),
    ],
)
def test_requests_of_marked_views_are_served_lean(method, path):
    assert LEAN_ROUTES.is_served_lean(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", "/v1/chat/completions"),  # the CORS middleware answers it
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat/completions/a/b"),
        ("POST", "/v1/chat/completions/chatcmpl-1/messages"),
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/models"),
        ("POST", "/v1/files"),
        ("GET", "/healthz"),
        ("GET", "/admin/"),
        ("POST", "/nowhere"),
    ],
)
def test_all_other_requests_are_served_by_django(method, path):
    assert not LEAN_ROUTES.is_served_lean(method, path)
