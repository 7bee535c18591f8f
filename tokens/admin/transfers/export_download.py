"""Send an export of tokens as a file, piece by piece and beside the event loop."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils import timezone

from tokens.exports.token_export import EXPORT_FORMS, stream_export
from tokens.querysets import TokenQuerySet


def answer_export(tokens: TokenQuerySet, name: str, passphrase: str) -> StreamingHttpResponse:
    """Return the answer with a file in one of EXPORT_FORMS."""
    form = EXPORT_FORMS[name]
    day = timezone.localtime().strftime("%Y-%m-%d")
    return StreamingHttpResponse(
        iterate_in_thread(stream_export(tokens, name, passphrase)),
        content_type=f"{form.content_type}; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="tokens-{day}.{form.suffix}"',
            "cache-control": "no-store",
        },
    )


async def iterate_in_thread(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Yield the pieces, each of which is made in a thread."""
    while (piece := await sync_to_async(read_next)(pieces)) is not None:
        yield piece


def read_next(pieces: Iterator[str]) -> str | None:
    return next(pieces, None)
