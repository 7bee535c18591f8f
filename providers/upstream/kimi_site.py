"""Kimi's web site as both of its interfaces have it: headers, errors and sessions."""

from msgspec import structs

from providers.choices import Search
from providers.exceptions import AuthRejected, Rejected
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, Credential, NewCredential, UpstreamModel
from providers.upstream.web_chat import WebChat
from providers.wire import kimi_common


class KimiSite(WebChat):
    """The base of the adapters for Kimi's web site."""

    profile_name = "kimi-web"
    has_single_stream = True
    can_refresh = True
    ERRORS = kimi_common.ERRORS

    def build_headers(self, credential: Credential) -> bytes:
        return super().build_headers(credential) + kimi_common.build_header_lines(
            credential.secret, self.upstream.base_url
        )

    def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the answer; `use_search` of the body, a field of the site's clients, decides."""
        wants_search = request.body.get("use_search")
        if wants_search is True:
            model = structs.replace(model, search=Search.ON)
        elif wants_search is False:
            model = structs.replace(model, search=Search.OFF)
        return super().relay_answer(request, model, credential, attempt)

    def read_error_object(self, body: object) -> JsonObject | None:
        return kimi_common.read_kimi_error(body)

    async def refresh_credential(self, secret: str) -> NewCredential:
        try:
            return kimi_common.read_refreshed_tokens(
                await self.fetch_object("GET", kimi_common.REFRESH_PATH, Credential(None, secret))
            )
        except Rejected as error:
            raise AuthRejected(error.message) from None
