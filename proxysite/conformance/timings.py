"""How long the faults last and how long the judge waits, in two profiles."""

from dataclasses import dataclass, fields

from providers.protocol.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class Timings:
    """The timings of a run, in seconds but for `outage_requests`."""

    retry_after_seconds: float = 2.0  # whole seconds, as in the header
    slow_start_seconds: float = 20.0  # before the first word of S07
    stall_seconds: float = 30.0  # of silence in the middle of S09
    silence_seconds: float = 120.0  # of S06
    outage_seconds: float = 60.0  # of S15
    outage_requests: int = 20
    outage_interval_seconds: float = 4.0  # between the requests of S15
    word_seconds: float = 0.015  # between two words of a stream
    hang_seconds: float = 40.0  # a call that takes longer than the fault and this hangs
    recovery_seconds: float = 30.0  # after the outage the model must be used again within it
    reach_seconds: float = 60.0  # a scenario whose fault was not played is repeated so long


PROFILES = {
    "full": Timings(),
    "fast": Timings(
        retry_after_seconds=1.0,
        slow_start_seconds=6.0,
        stall_seconds=6.0,
        silence_seconds=20.0,
        outage_seconds=3.0,
        outage_requests=10,
        outage_interval_seconds=0.6,
        word_seconds=0.001,
        hang_seconds=15.0,
        reach_seconds=20.0,
    ),
}


def read_timings(values: JsonObject) -> Timings:
    """Return the timings of a JSON object. Raises ValueError on a wrong name or value."""
    names = {field.name for field in fields(Timings)}
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in names or not is_number or not 0 <= value <= 3_600:
            raise ValueError(f"{name!r} is no timing, or not between 0 and 3600.")
    return Timings(**values)
