"""Render the figures of the gateway in Prometheus's text format.

Names follow Prometheus's conventions: base units, `_total` for counters. Labels are bounded: no
keys, users or tokens, and at most METRICS_SERIES combinations for requests. Counters are those of
all processes of this home. The state of tokens and breakers is that of the process that answers.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from api.metrics.process_metrics import read_gauges
from api.metrics.request_counters import (
    BOUNDS_MS,
    LABEL_COLUMNS,
    SUMMED_COLUMNS,
    RequestCounters,
)
from api.relay.gateway import Gateway
from providers.protocol.json_types import JsonObject

TOKEN_KINDS = {  # the value of the label `kind`, and the sum that it stands for
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "cached": "cached_tokens",
    "reasoning": "reasoning_tokens",
}
TIMES = {
    "total_ms": ("proxysite_request_seconds", "Time from a request to the end of its answer."),
    "first_byte_ms": (
        "proxysite_first_byte_seconds",
        "Time from a request to the first chunk of its answer.",
    ),
}
GAUGE_TEXTS = {
    "requests_in_flight": "Requests that run now, in all processes of this home.",
    "keys_in_flight": "API keys with running requests, added up over processes.",
    "ledger_suspended": "Processes that refuse requests, as they cannot record them.",
}


def render_metrics(gateway: Gateway) -> bytes:
    """Return the figures of all processes of this home. Reads files; for a thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(gateway))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class GatewayCollector:
    """Collects the figures of the gateway for one answer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._upstreams = gateway.catalogue.list_upstreams()
        self._names = {upstream.id: upstream.name for upstream in self._upstreams}

    def collect(self) -> Iterator[Metric]:
        """Yield all figures, as the registry of prometheus_client asks for them."""
        counters, others = self._gateway.metrics.sum_processes()
        yield InfoMetricFamily(
            "proxysite_build", "The release that runs.", value={"version": settings.VERSION}
        )
        yield from self._collect_requests(counters)
        yield from collect_times(counters)
        yield from collect_calls(counters)
        yield from collect_gauges([read_gauges(self._gateway), *others])
        yield from self._collect_pool()

    def _collect_requests(self, counters: RequestCounters) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "proxysite_requests",
            "Requests that are recorded, also refused ones.",
            labels=("endpoint", "model", "provider", "status", "http_status", "error_code"),
        )
        tokens = CounterMetricFamily(
            "proxysite_tokens",
            "Tokens of requests; `cached` are among `prompt`, `reasoning` among `completion`.",
            labels=("model", "provider", "kind"),
        )
        cost = CounterMetricFamily(
            "proxysite_cost_usd",
            "Known cost of requests in USD.",
            labels=("model", "provider"),
        )
        by_model: dict[tuple[str, str], dict[str, int]] = {}
        for labels, values in list(counters.sums.items()):
            label_values = self._name_labels(labels)
            sums = dict(zip(SUMMED_COLUMNS, values, strict=True))
            requests.add_metric(list(label_values.values()), sums["request_count"])
            pair = label_values["model"], label_values["provider_id"]
            add_sums(by_model.setdefault(pair, {}), sums)
        for (model, provider), sums in by_model.items():
            for kind, name in TOKEN_KINDS.items():
                tokens.add_metric([model, provider, kind], sums[name])
            cost.add_metric([model, provider], sums["cost_micro_usd"] / 1e6)
        yield from (requests, tokens, cost)

    def _name_labels(self, labels: Iterable[Any]) -> dict[str, str]:
        """Return the labels as texts, with the provider's name in place of its id."""
        values = dict(zip(LABEL_COLUMNS, labels, strict=True))
        provider_id = values["provider_id"]
        values["provider_id"] = self._names.get(provider_id, provider_id)
        return {name: "" if value is None else str(value) for name, value in values.items()}

    def _collect_pool(self) -> Iterator[Metric]:
        tokens = GaugeMetricFamily(
            "proxysite_provider_tokens",
            "Tokens of a provider by state.",
            labels=("provider", "state"),
        )
        breakers = GaugeMetricFamily(
            "proxysite_breaker_open_seconds",
            "Seconds until a provider's circuit breaker lets a request through; 0: closed.",
            labels=("provider",),
        )
        now = time.monotonic()
        for upstream in self._upstreams:
            counts = self._gateway.pool.count_by_state(upstream)._asdict()
            del counts["total"]
            for state, count in counts.items():
                tokens.add_metric([upstream.name, state], count)
            breaker = self._gateway.pool.find_breaker(upstream)
            breakers.add_metric([upstream.name], max(0.0, breaker.open_until - now))
        yield from (tokens, breakers)


def collect_times(counters: RequestCounters) -> Iterator[Metric]:
    """Yield the histograms of answer times, in seconds."""
    bounds = [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
    for name, (metric_name, text) in TIMES.items():
        histogram = HistogramMetricFamily(metric_name, text, labels=("endpoint",))
        for (time_name, endpoint), times in list(counters.times.items()):
            if time_name != name:
                continue
            reached = 0
            buckets = []
            for bound, count in zip(bounds, times.buckets, strict=True):
                reached += count
                buckets.append((bound, float(reached)))
            histogram.add_metric([endpoint], buckets, times.sum_ms[0] / 1000)
        yield histogram


def collect_calls(counters: RequestCounters) -> Iterator[Metric]:
    """Yield the calls of upstreams by outcome."""
    calls = CounterMetricFamily(
        "proxysite_upstream_calls",
        "Calls of upstreams by outcome, each try of a request apart.",
        labels=("provider", "outcome"),
    )
    for call, count in list(counters.calls.items()):
        calls.add_metric(list(call), count)
    yield calls


def collect_gauges(processes: list[JsonObject]) -> Iterator[Metric]:
    """Yield the present values, added up over processes."""
    for name, text in GAUGE_TEXTS.items():
        total = sum(gauges.get(name, 0) for gauges in processes)
        yield GaugeMetricFamily(f"proxysite_{name}", text, value=total)


def add_sums(total: dict[str, int], sums: Mapping[str, int]) -> None:
    """Add sums to others of the same names."""
    for name, value in sums.items():
        total[name] = total.get(name, 0) + value
