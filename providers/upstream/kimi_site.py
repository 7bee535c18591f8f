"""Kimi's web site as both of its interfaces have it: headers, errors and sessions."""

from providers.exceptions import AuthRejected, Rejected
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential, NewCredential
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

    def read_error_object(self, body: object) -> JsonObject | None:
        return kimi_common.read_kimi_error(body)

    async def refresh_credential(self, secret: str) -> NewCredential:
        try:
            return kimi_common.read_refreshed_tokens(
                await self.fetch_object("GET", kimi_common.REFRESH_PATH, Credential(None, secret))
            )
        except Rejected as error:
            raise AuthRejected(error.message) from None
