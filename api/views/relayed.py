"""The endpoints of images, audio, moderations and rerank (`api/relayed/`)."""

from functools import partial

from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relayed.relay_endpoint import relay_endpoint
from providers.protocol.relayed_request import (
    IMAGE_EDITS,
    IMAGE_GENERATIONS,
    IMAGE_VARIATIONS,
    MODERATIONS,
    RERANK,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
)

image_generations = api_endpoint("POST")(
    make_idempotent(partial(relay_endpoint, endpoint=IMAGE_GENERATIONS))
)
image_edits = api_endpoint("POST")(partial(relay_endpoint, endpoint=IMAGE_EDITS))
image_variations = api_endpoint("POST")(partial(relay_endpoint, endpoint=IMAGE_VARIATIONS))
speech = api_endpoint("POST")(partial(relay_endpoint, endpoint=SPEECH))
transcriptions = api_endpoint("POST")(partial(relay_endpoint, endpoint=TRANSCRIPTIONS))
translations = api_endpoint("POST")(partial(relay_endpoint, endpoint=TRANSLATIONS))
moderations = api_endpoint("POST")(make_idempotent(partial(relay_endpoint, endpoint=MODERATIONS)))
rerank = api_endpoint("POST")(make_idempotent(partial(relay_endpoint, endpoint=RERANK)))
