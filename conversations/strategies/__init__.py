"""Strategies produce answers: each has a function `answer(request, candidates, pool, trace)`.

A strategy that adds to the caller's messages also has `answer_fitted`, with a `PromptFitter` as the
last argument, by which it fits each of its questions into the model's window. For other strategies
prompts are fitted ahead.

A strategy is one module or package of this folder and is found by its name. It yields chunks like
`tokens.failover.loop.answer`, which makes each of its upstream calls. A VirtualModel row names its
strategy.
"""

import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

from conversations.prompts.fit_prompt import PromptFitter
from providers.catalogue import Candidate
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool

Strategy = Callable[[ChatRequest, Sequence[Candidate], Pool, Trace], Batches]
FittingStrategy = Callable[[ChatRequest, Sequence[Candidate], Pool, Trace, PromptFitter], Batches]


@cache
def list_strategies() -> tuple[str, ...]:
    """Return the names of all strategies, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def find_strategy(name: str) -> Strategy:
    """Return the strategy of that name. Raises KeyError when there is none."""
    if name not in list_strategies():
        raise KeyError(name)
    strategy: Strategy = import_module(f"{__name__}.{name}").answer
    return strategy


@cache
def find_fitting_strategy(name: str) -> FittingStrategy | None:
    """Return the strategy that fits its own questions, None when the one of that name does not."""
    find_strategy(name)
    strategy: FittingStrategy | None = getattr(
        import_module(f"{__name__}.{name}"), "answer_fitted", None
    )
    return strategy
