"""The search in a caller's own files and documents, by the index that long texts have.

Source: OpenAI's API reference, "Create a response", `file_search`, and "File search call".
"""

from collections.abc import Sequence

from django.conf import settings
from msgspec import Struct

from conversations.documents.passage_search import (
    DocumentScope,
    FoundPassage,
    search_documents,
)
from conversations.documents.ranking import EmbedTexts
from conversations.messages.tool_names import CalledTool
from conversations.server_tools.citations import CITE_HINT, CitationSources
from conversations.server_tools.mcp_tools import SERVER_TOOL_KIND
from conversations.server_tools.server_tool import (
    ToolCall,
    ToolOutcome,
    add_private_fields,
    cut_output,
    make_failed_outcome,
    make_query_parameters,
    read_query,
)
from providers.exceptions import GatewayError
from providers.protocol.json_types import JsonObject

DEFAULT_COUNT = 10
NOTHING_FOUND = "No passage fits."


class FileWishes(Struct, frozen=True):
    """The wishes of a request for its searches in files."""

    scope: DocumentScope
    result_count: int = DEFAULT_COUNT
    least_score: float = 0.0
    shows_results: bool = False  # items have the passages


class FileSearchTool:
    """The search as a function with one argument."""

    needs_approval = False

    def __init__(
        self,
        user_id: int,
        sources: CitationSources,
        wishes: FileWishes,
        embed: EmbedTexts | None = None,
    ) -> None:
        self._user_id = user_id
        self._sources = sources
        self._wishes = wishes
        self._embed = embed

    @property
    def called_tool(self) -> CalledTool:
        return CalledTool(SERVER_TOOL_KIND, "file_search")

    def describe(self) -> JsonObject:
        text = f"Search the files of the person who asks. The passages are numbered. {CITE_HINT}"
        parameters = make_query_parameters("What to look for, as a question or in words.")
        return {"description": text, "parameters": parameters}

    def build_item(self, call: ToolCall) -> JsonObject:
        queries = [read_query(call.arguments)]
        return {"type": "file_search_call", "queries": queries, "results": None}

    async def run(self, call: ToolCall, seconds: float) -> ToolOutcome:
        query = read_query(call.arguments)
        if not query:
            return self.make_failure(call, "The query is empty.")
        wishes = self._wishes
        try:
            passages = await search_documents(
                self._user_id, wishes.scope, query, wishes.result_count, self._embed
            )
        except GatewayError as error:
            return self.make_failure(call, error.message)
        passages = [passage for passage in passages if passage.score >= wishes.least_score]
        output = cut_output(self._render(passages), settings.SERVER_TOOL_RESULT_BYTES)
        item = self.build_item(call)
        if wishes.shows_results:
            item["results"] = [render_result(passage) for passage in passages]
        return ToolOutcome(add_private_fields(item, call, output), output)

    def make_failure(self, call: ToolCall, message: str) -> ToolOutcome:
        return make_failed_outcome(self.build_item(call), call, f"The search failed: {message}")

    def _render(self, passages: Sequence[FoundPassage]) -> str:
        """Return the passages as the model gets them, each with the number of its file."""
        texts = [
            f"[{self._sources.add_file(passage.file_id, passage.filename)}] {passage.filename}\n"
            f"{passage.text}"
            for passage in passages
        ]
        return "\n\n".join(texts) or NOTHING_FOUND


def render_result(passage: FoundPassage) -> JsonObject:
    """Return a passage in the form of OpenAI's results."""
    return {
        "file_id": passage.file_id,
        "filename": passage.filename,
        "score": passage.score,
        "text": passage.text,
        "attributes": {},
    }
