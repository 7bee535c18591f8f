"""What an upstream call is billed by besides tokens: images, audio, characters, searches."""

from msgspec import Struct, structs

from providers.protocol.json_types import JsonObject


class BilledUnits(Struct, frozen=True):
    """The units of one upstream call; zero where there are none, or where nobody says how many.

    A search unit is Cohere's: one query with up to 100 documents.
    """

    images: int = 0
    audio_seconds: float = 0.0
    characters: int = 0  # of a text that is read aloud
    search_units: int = 0

    def __bool__(self) -> bool:
        return bool(self.images or self.audio_seconds or self.characters or self.search_units)

    def as_dict(self) -> JsonObject:
        """Return the units that are not zero, as the ledger stores them."""
        return {name: value for name, value in structs.asdict(self).items() if value}
