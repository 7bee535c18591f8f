"""Moonshot's adapter: chat, the web search and the check of a key."""

from contextlib import aclosing
from typing import ClassVar

import msgspec

from providers.adapters.moonshot.file_texts import FileTextAdapter
from providers.exceptions import (
    BadResponse,
    ModelMissing,
    QuotaExhausted,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.filters import builtin_search
from providers.filters.filter_pipeline import apply_filters
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, make_usage_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.upstream.error_mapping import ERROR_CODES
from providers.upstream.moonshot_dialect import TEMPERATURE_WITHOUT_THINKING, THINKING_MODELS

MOST_SEARCHES = 5  # searches for one answer; then the model has to answer
LINK_PART_TYPES = ("image_url", "video_url")


class Adapter(FileTextAdapter):
    label = "Moonshot AI, official"
    can_search = True
    profile_name = "moonshot"
    ERRORS: ClassVar[dict[str, type[UpstreamError]]] = ERROR_CODES | {
        # it may also mean a low balance, so the key is exhausted for a time, not rejected
        "permission_denied_error": QuotaExhausted,
        "client_closed_request": ServerFailed,
    }

    # --- chat -------------------------------------------------------------------------------------
    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        body = super().build_payload(request, model)
        body.pop("web_search_options", None)
        if offers_search(request, model):
            body["tools"] = [*(body.get("tools") or ()), builtin_search.SEARCH_TOOL]
            body["thinking"] = {"type": "disabled"}
            if "temperature" in body and THINKING_MODELS.search(model.name):
                body["temperature"] = TEMPERATURE_WITHOUT_THINKING
        return body

    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint == CHAT:
            refuse_web_addresses(request.body["messages"])
            if model.files:
                request = await self.add_file_texts(request, credential, attempt)
        if offers_search(request, model):
            relayed = apply_filters(
                self._relay_with_search(request, model, credential, attempt),
                (),
                stream=request.stream,
            )
        else:
            relayed = super().relay_answer(request, model, credential, attempt)
        async with aclosing(relayed) as batches:
            async for batch in batches:
                yield batch

    async def _relay_with_search(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the chunks of an answer for which the model may search the web, in several calls.

        Raises Rejected for more than one choice, BadResponse if the model does not stop searching.
        """
        if (request.body.get("n") or 1) > 1:
            raise Rejected("With web search there is one choice only.", param="n")
        search = builtin_search.BuiltinSearch()
        body = {**request.body, "stream": True}
        for round_number in range(MOST_SEARCHES + 1):
            if round_number == MOST_SEARCHES:
                body |= {"tool_choice": "none"}
            round_request = msgspec.structs.replace(request, stream=True, body=body)
            async with aclosing(
                self._relay_round(round_request, model, credential, attempt, search)
            ) as batches:
                async for batch in batches:
                    yield batch
            if not search.wants_results:
                break
            body = body | {"messages": [*body["messages"], *search.build_result_messages()]}
        else:
            raise BadResponse("The upstream does not stop searching.")
        if usage := search.total_usage():
            yield [make_usage_chunk(request, usage)]

    async def _relay_round(
        self,
        request: ChatRequest,
        model: UpstreamModel,
        credential: Credential,
        attempt: Attempt,
        search: builtin_search.BuiltinSearch,
    ) -> Batches:
        """Yield the chunks of one upstream call that the caller gets; `search` takes the others."""
        search.begin_round()
        async with aclosing(super().relay_answer(request, model, credential, attempt)) as batches:
            async for batch in batches:
                if shown_chunks := search.filter_chunks(batch):
                    yield shown_chunks

    # --- checks -----------------------------------------------------------------------------------
    async def probe_credential(self, credential: Credential) -> None:
        """Check the key by its balance, which is free to ask for, else by the list of models.

        Raises UpstreamError; QuotaExhausted if the balance is used up.
        """
        try:
            body = await self.fetch_json("GET", "users/me/balance", credential)
        except ModelMissing:
            await self.list_model_ids(credential)
            return
        if is_balance_used_up(body):
            raise QuotaExhausted("The account's balance is used up.")


def is_balance_used_up(body: object) -> bool:
    """Return whether an answer about the balance names one that is used up."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        return False
    balance = body["data"].get("available_balance")
    return isinstance(balance, int | float) and balance <= 0


def offers_search(request: ChatRequest, model: UpstreamModel) -> bool:
    """Return whether this adapter offers the web search.

    A caller who offers it as a tool answers its calls itself.
    """
    return (
        request.endpoint == CHAT
        and model.search == "on"
        and not builtin_search.has_search_tool(request.body)
    )


def refuse_web_addresses(messages: list[JsonObject]) -> None:
    """Raise Rejected if an image or video is given as a web address."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(map(has_web_address, content)):
            raise Rejected(
                "This model takes images and videos as data URLs, not as web addresses.",
                param="messages",
            )


def has_web_address(part: JsonObject) -> bool:
    """Return whether a content part is an image or a video at a web address."""
    if part["type"] not in LINK_PART_TYPES:
        return False
    url = part.get(part["type"])
    if isinstance(url, dict):
        url = url.get("url")
    return isinstance(url, str) and url.lower().startswith(("http://", "https://"))
