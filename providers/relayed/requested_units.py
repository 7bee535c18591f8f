"""Count the units that a request asks for, before anybody has answered it. No I/O."""

from msgspec import structs

from providers.protocol.billed_units import BilledUnits
from providers.protocol.relayed_request import (
    AUDIO_ENDPOINTS,
    IMAGE_ENDPOINTS,
    RERANK,
    SPEECH,
)
from providers.protocol.request import ChatRequest

SEARCH_DOCUMENTS = 100  # of one search unit, as Cohere counts
# of a strongly compressed recording of speech (32 kbit/s); most have fewer seconds
BYTES_PER_AUDIO_SECOND = 4_000


def count_requested_units(request: ChatRequest) -> BilledUnits:
    """Return the units that a request asks for, as far as its body says."""
    body = request.body
    if request.endpoint in IMAGE_ENDPOINTS:
        return BilledUnits(images=body.get("n") or 1)
    if request.endpoint == SPEECH:
        return BilledUnits(characters=len(body["input"]))
    if request.endpoint == RERANK:
        return BilledUnits(search_units=-(-len(body["documents"]) // SEARCH_DOCUMENTS))
    return BilledUnits(lacks_seconds=request.endpoint in AUDIO_ENDPOINTS)


def estimate_units(request: ChatRequest) -> BilledUnits:
    """Return the units that a request may be billed by, those of a recording by its size."""
    units = count_requested_units(request)
    if units.lacks_seconds and request.form is not None:
        seconds = request.form.size_bytes / BYTES_PER_AUDIO_SECOND
        units = structs.replace(units, audio_seconds=seconds, lacks_seconds=False)
    return units
