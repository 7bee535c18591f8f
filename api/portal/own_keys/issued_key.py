"""The only page that shows the secret of a key, with set-ups of clients that are ready to copy."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.debug import sensitive_variables

from api.models import ApiKey
from api.portal.guides.client_guides import list_snippets
from api.portal.guides.guide_pages import make_connection
from api.portal.own_keys.issuing_bounds import list_usable_models
from api.portal.portal_access import render_page


@sensitive_variables("secret")
def render_issued_key(
    request: HttpRequest, key: ApiKey, secret: str, **context: Any
) -> HttpResponseBase:
    """Answer with the page; no message, session or cache keeps the secret."""
    models = list_usable_models(key)
    model = key.default_model if key.default_model in models else next(iter(models), "")
    connection = make_connection(request, secret, model)
    return render_page(
        request,
        "key_issued",
        key=key,
        secret=secret,
        base_url=connection.base_url,
        snippets=list_snippets(connection),
        section="portal-keys",
        **context,
    )
