"""Estimate the amounts that one request needs of each limit, before it is sent.

Tokens are reserved by an estimate: what answers of this model had lately. Money is reserved up to
the most that the answer may cost: by the limit that the request sets to its answer, or else by one
and a half times the longest of the latest answers, at most RESERVED_COMPLETION_TOKENS. What was
reserved and not used comes back when the request ends. Prompts are taken for somewhat longer than
estimated, by what the model's latest prompts had more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from api.accounting.token_count import Prompt
from api.limits.caller_limits import BUDGETS, Resource, Rule
from conversations.text.token_estimate import estimate_texts
from providers.catalogue import Candidate
from providers.fast_settings import settings
from providers.protocol.relayed_request import RELAYED_CAPABILITIES
from providers.protocol.request import EMBEDDINGS, ChatRequest

SMALL_BODY_BYTES = 16_384  # of such a body three bytes are taken for a token
BYTES_PER_TOKEN = 3
FIRST_ESTIMATE_TOKENS = 256  # of an answer, before the model has given any
KNOWN_ANSWERS = 8  # after so many answers of a model their length is known
MEAN_SHARE = 0.125  # of the latest answer in the mean
DECAY = 0.99  # of the longest answer, with each later one
MARGIN = 1.5
FIRST_PROMPT_RATIO = 2.0  # of a prompt's length to its estimate, before prompts have ended
MOST_PROMPT_RATIO = 3.0  # a token of each byte
LEAST_TOKENS = 256
ANSWER_LIMIT_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
USUAL_STEPS = 3  # of the strategy `stepwise`, and paths of `multipath`


class AnswerLengths(Struct):
    """The lengths of a model's latest prompts and answers in this process, in tokens."""

    count: int = 0
    mean: float = FIRST_ESTIMATE_TOKENS
    longest: float = 0.0
    prompt_count: int = 0
    prompt_ratio: float = 1.0  # of the prompt that was furthest above its estimate
    prompt_extra: float = 0.0  # tokens beyond the highest ratio: what upstreams add to a prompt

    def add_answer(self, tokens: int) -> None:
        self.count += 1
        self.mean += (tokens - self.mean) * MEAN_SHARE
        self.longest = max(float(tokens), self.longest * DECAY)

    def add_prompt(self, tokens: int, estimated: int) -> None:
        """Learn from a prompt of so many tokens, for which others were estimated."""
        if not estimated:
            return
        self.prompt_count += 1
        ratio = min(tokens / estimated, MOST_PROMPT_RATIO)
        self.prompt_ratio = max(1.0, ratio, self.prompt_ratio * DECAY)
        extra = tokens - estimated * MOST_PROMPT_RATIO
        self.prompt_extra = max(0.0, extra, self.prompt_extra * DECAY)

    def bound_prompt(self, estimated: int) -> int:
        """Return how long a prompt may be for which so many tokens were estimated."""
        if self.prompt_count < KNOWN_ANSWERS:
            return int(estimated * FIRST_PROMPT_RATIO)
        return int(estimated * self.prompt_ratio + self.prompt_extra)

    @property
    def bound(self) -> int:
        """Return how long an answer may be that the request sets no limit to."""
        most: int = settings.RESERVED_COMPLETION_TOKENS
        if self.count < KNOWN_ANSWERS:
            return most
        return min(most, max(LEAST_TOKENS, int(self.longest * MARGIN)))


class TokenEstimate(NamedTuple):
    """Tokens of a request: of its prompt and its answer, as usual and at most."""

    prompt: int
    completion: int
    most_prompt: int
    most_completion: int


def estimate_request(
    request: ChatRequest, size_bytes: int | None, lengths: AnswerLengths
) -> TokenEstimate:
    """Estimate the tokens of one upstream call for a request.

    `size_bytes` is the size of its body as it came, None when more was added to it.
    """
    body = request.body
    if request.form is not None:
        size_bytes = None  # most of it are files
    if size_bytes is not None and size_bytes <= SMALL_BODY_BYTES:
        prompt_tokens = size_bytes // BYTES_PER_TOKEN
    else:
        prompt = Prompt()
        prompt.add_body(request.counted_body)
        texts = estimate_texts(prompt.texts, settings.COUNT_INLINE_BYTES)
        prompt_tokens = texts + prompt.non_text_tokens
    most_prompt = lengths.bound_prompt(prompt_tokens)
    if request.endpoint == EMBEDDINGS:
        return TokenEstimate(prompt_tokens, 0, most_prompt, 0)
    if request.endpoint in RELAYED_CAPABILITIES and not lengths.count:
        return TokenEstimate(prompt_tokens, 0, most_prompt, 0)  # many models answer no tokens
    choice_count = max(request.choice_count, body.get("best_of") or 1)
    answer_limit = find_answer_limit(body)
    if answer_limit is None:
        most = lengths.bound
        usual = int(lengths.mean)
    else:
        most = answer_limit
        usual = min(answer_limit, int(lengths.mean))
    return TokenEstimate(prompt_tokens, usual * choice_count, most_prompt, most * choice_count)


def find_answer_limit(body: Mapping[str, Any]) -> int | None:
    """Return the limit that a body sets to its answer, in tokens; None without one."""
    for name in ANSWER_LIMIT_FIELDS:
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def count_calls(candidate: Candidate) -> int:
    """Return how many upstream calls the strategy usually makes for a request."""
    if candidate.strategy == "stepwise":
        return int(candidate.options.get("min_steps") or USUAL_STEPS) + 1
    if candidate.strategy == "multipath":
        return int(candidate.options.get("candidates") or USUAL_STEPS) + 1
    return 1


def list_demands(
    rules: Sequence[Rule], tokens: int, micro_usd: int | None
) -> list[tuple[Rule, int]]:
    """Return how much of each limit a request needs.

    A request of unknown price needs no money: nobody could say how much.
    """
    demands = []
    for rule in rules:
        if rule.resource is Resource.TOKENS:
            demands.append((rule, tokens))
        elif rule.resource in BUDGETS:
            if micro_usd:
                demands.append((rule, micro_usd))
        else:
            demands.append((rule, 1))
    return demands
