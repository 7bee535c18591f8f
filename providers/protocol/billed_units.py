"""The units besides tokens by which a call is billed: images, audio, characters, searches."""

from msgspec import Struct, ValidationError, convert, structs

from providers.protocol.json_types import JsonObject


class BilledUnits(Struct, frozen=True):
    """The units of one upstream call; zero where there are none, or where nobody says how many.

    A search unit is Cohere's: one query with up to 100 documents.
    """

    images: int = 0
    audio_seconds: float = 0.0
    characters: int = 0  # of a text that is read aloud
    search_units: int = 0
    lacks_seconds: bool = False  # there was audio, and nobody says how long it is

    def __bool__(self) -> bool:
        return self != NO_UNITS

    def as_dict(self) -> JsonObject:
        """Return the units that are not zero, as the ledger stores them."""
        return {name: value for name, value in structs.asdict(self).items() if value}


NO_UNITS = BilledUnits()


def read_billed_units(stored: object) -> BilledUnits:
    """Return the units that the ledger stored (`BilledUnits.as_dict`); none where they are odd."""
    try:
        return convert(stored or {}, BilledUnits)
    except ValidationError:
        return NO_UNITS
