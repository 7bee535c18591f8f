"""Strategies produce answers: each has a function `answer(request, candidates, pool, trace)`.

A strategy is one module or package of this folder and is found by its name. It yields chunks like
`tokens.failover.loop.answer`, which makes each of its upstream calls. A VirtualModel row names its
strategy.
"""

import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

from providers.catalogue import Candidate
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool

Strategy = Callable[[ChatRequest, Sequence[Candidate], Pool, Trace], Batches]


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
