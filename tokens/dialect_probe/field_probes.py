"""Find out which fields of a request an upstream takes: limits, roles, names, streams, others."""

from providers.dialects.refused_fields import find_refused_field
from providers.exceptions import Rejected
from providers.protocol.json_types import JsonObject
from tokens.dialect_probe.finding import Finding
from tokens.dialect_probe.prober import HI, MOST_ANSWER_TOKENS, Prober, is_about_limit, is_cut

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
COUNTING = [{"role": "user", "content": "Count from 1 to 20."}]  # longer than the limit
# fields that describe a request, with values that change no answer
DESCRIBING_FIELDS: JsonObject = {
    "user": "probe",
    "metadata": {"probe": "1"},
    "store": False,
    "service_tier": "auto",
    "prompt_cache_key": "probe",
    "safety_identifier": "probe",
}
# fields that tune an answer: one model may refuse what another one of the upstream takes, so that
# they are learnt for each model by itself
TUNING_FIELDS: JsonObject = {
    "temperature": 1,
    "top_p": 1,
    "seed": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


async def probe_limits(prober: Prober) -> Finding:
    """Find the names of the limit, and set the one that the other questions use.

    It asks the first question, so it raises UpstreamError if the upstream does not answer at all.
    """
    if not prober.adapter.speaks_openai:
        prober.first_answer = await prober.ask()
        place = "site" if prober.adapter.is_stream_only else "adapter"
        return Finding("limit", f"left to the {place}")
    taken: list[str] = []
    refusals: list[Rejected] = []
    for name in LIMIT_FIELDS:
        try:
            answer = await prober.ask(COUNTING, **{name: MOST_ANSWER_TOKENS})
        except Rejected as error:
            if not is_about_limit(error):
                refusals.append(error)
                continue
        else:
            prober.first_answer = prober.first_answer or answer
            if passes_limit(answer):
                continue
        taken.append(name)
    if len(refusals) == len(LIMIT_FIELDS):
        raise refusals[0]
    if not taken:
        return Finding("limit", "ignored")
    prober.limit = {taken[0]: MOST_ANSWER_TOKENS}
    if len(taken) == len(LIMIT_FIELDS):
        return Finding("limit", " and ".join(taken))
    return Finding("limit", f"{taken[0]} only", {"limit_field": taken[0]})


def passes_limit(answer: JsonObject) -> bool:
    """Return whether an answer is longer than its limit: the upstream passes over the field."""
    completion_tokens = (answer.get("usage") or {}).get("completion_tokens")
    if is_cut(answer) or not isinstance(completion_tokens, int):
        return False
    return completion_tokens > 2 * MOST_ANSWER_TOKENS  # some count differently than they cut


async def probe_developer(prober: Prober) -> Finding:
    if await prober.is_taken([{"role": "developer", "content": "Be brief."}, HI]):
        return Finding("role developer", "taken")
    return Finding("role developer", "refused: sent as system", {"knows_developer": False})


async def probe_names(prober: Prober) -> Finding:
    if await prober.is_taken([HI | {"name": "probe"}]):
        return Finding("names of messages", "taken")
    return Finding("names of messages", "refused", {"takes_names": False})


async def probe_stream(prober: Prober) -> Finding:
    """Find out if streams bring their usage, and if they may be asked for it."""
    try:
        chunks = await prober.ask_stream(asks_usage=True)
        is_taken = True
    except Rejected:
        chunks = await prober.ask_stream(asks_usage=False)
        is_taken = False
    usage = "with usage" if any(chunk.get("usage") for chunk in chunks) else "without usage"
    if is_taken:
        return Finding("stream_options", f"taken; streams end {usage}")
    fields = {"takes_stream_options": False}
    return Finding("stream_options", f"refused; streams end {usage}", fields)


async def probe_usage(prober: Prober) -> Finding:
    if not prober.first_answer:
        return Finding("usage", "not found out: no answer was whole")
    usage = prober.first_answer.get("usage") or {}
    names = [name for name in ("prompt_tokens", "completion_tokens") if name in usage]
    if len(names) == 2:
        return Finding("usage", "reported")
    return Finding("usage", "not reported: tokens are counted here")


async def probe_fields(prober: Prober) -> Finding:
    """Find the fields that the upstream refuses."""
    refused = sorted(await find_refused(prober, DESCRIBING_FIELDS | TUNING_FIELDS))
    if not refused:
        return Finding("other fields", "all taken")
    result = f"refused: {', '.join(refused)}"
    if of_model := [name for name in refused if name in TUNING_FIELDS]:
        result += f" ({', '.join(of_model)} perhaps by this model only: learnt when it is asked)"
    lasting = [name for name in refused if name in DESCRIBING_FIELDS]
    return Finding("other fields", result, {"refused_fields": lasting} if lasting else {})


async def find_refused(prober: Prober, fields: JsonObject) -> set[str]:
    """Return which of these fields are refused.

    A refusal that names none of them is narrowed down by halves. Raises UpstreamError.
    """
    try:
        await prober.ask(**fields)
    except Rejected as error:
        if is_about_limit(error):
            return set()
        name = find_refused_field(error)
    else:
        return set()
    if len(fields) == 1:
        return set(fields)
    if name in fields:
        rest = {other: value for other, value in fields.items() if other != name}
        return {name} | await find_refused(prober, rest)
    names = list(fields)
    refused: set[str] = set()
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        refused |= await find_refused(prober, {name: fields[name] for name in half})
    return refused
