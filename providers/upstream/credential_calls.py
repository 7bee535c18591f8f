"""Calls of an adapter that are not relayed answers: model lists, and the life of credentials."""

from typing import ClassVar

from providers.exceptions import BadResponse
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential, NewCredential
from providers.upstream.error_mapping import require_quota
from providers.upstream.upstream_client import UpstreamClient


class CredentialCalls(UpstreamClient):
    """The calls as OpenAI's dialect has them; adapters override what their upstream can."""

    can_refresh: ClassVar[bool] = False  # has `refresh_credential`
    can_sign_in: ClassVar[bool] = False  # has `sign_in`
    # hosts that list models without a key -> the path of a free call that needs the key
    KEY_CHECK_PATHS: ClassVar[dict[str, str]] = {}

    async def list_model_ids(self, credential: Credential) -> list[str]:
        """Return the ids of the models that the upstream lists, sorted. Raises UpstreamError."""
        return sorted(str(entry["id"]) for entry in await self.list_model_entries(credential))

    async def list_model_entries(self, credential: Credential) -> list[JsonObject]:
        """Return the entries of the upstream's list of models; each has an `id`.

        Raises UpstreamError.
        """
        entries = await self.fetch_json("GET", "models", credential)
        if isinstance(entries, dict):  # Together sends the list without an object around it
            entries = entries.get("data")
        if not isinstance(entries, list) or not all(map(is_model_entry, entries)):
            raise BadResponse("The upstream's list of models is not readable.")
        return entries

    async def probe_credential(self, credential: Credential) -> None:
        """Check a credential with the cheapest free call that needs it.

        Raises UpstreamError when the credential does not work.
        """
        path = self.KEY_CHECK_PATHS.get(self.get_target("models").origin.host)
        if path is None:
            await self.list_model_ids(credential)
        else:
            require_quota(await self.fetch_json("GET", path, credential))

    async def refresh_credential(self, secret: str) -> NewCredential:
        """Exchange a refresh token for a new credential; the refresh token may be void afterwards.

        Raises UpstreamError.
        """
        raise NotImplementedError

    async def sign_in(self, email: str, password: str) -> NewCredential:
        """Return a new credential for an account. Raises UpstreamError."""
        raise NotImplementedError

    async def delete_chat(self, credential: Credential, chat_id: str) -> None:
        """Delete a chat that the upstream stores. Raises UpstreamError."""


def is_model_entry(entry: object) -> bool:
    """Return whether an item of a list of models says which model it is."""
    return isinstance(entry, dict) and "id" in entry
