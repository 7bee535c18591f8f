"""Test the connection to a provider step by step: host, TLS, credential, models, a word, tools.

Each step has a time and the upstream's words. A step that fails ends the test where the others
need it: nobody can ask a host that does not answer. An upstream without a list of models is told
apart from one that cannot be reached. The questions are those of `examination.py`, so the test also
proposes changes of the provider's row. Texts of upstreams have their secrets blanked already.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from providers.exceptions import (
    AuthRejected,
    GatewayError,
    NoAvailableToken,
    Rejected,
    UpstreamError,
)
from providers.models import Provider
from providers.network.clients import Clients
from providers.network.reachability import look_up_origin, negotiate_tls, open_socket
from providers.network.target import Origin
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from providers.vault import VaultError
from tokens.dialect_probe import answer_probes, field_probes
from tokens.dialect_probe.examination import (
    ANSWER_PROBES,
    DIALECT_PROBES,
    find_model_name,
    recognize_server,
)
from tokens.dialect_probe.finding import Finding
from tokens.dialect_probe.prober import Prober, build_probing_adapter
from tokens.dialect_probe.proposal import propose_columns
from tokens.maintenance.credential_check import check_credential
from tokens.models import UpstreamToken
from tokens.upstream_access import list_usable_tokens, open_token_credential

GOOD, WARNING, FAILED, SKIPPED = "good", "wait", "bad", "off"
NO_LIST_STATUSES = (400, 404, 405, 501)  # of an upstream that has no list of models
SHOWN_CHARS = 200
NAME_CHARS = 200  # of a model
DIALECT_CHARS = 4_000  # of the results of the questions about the dialect
# parts of names of models that do not chat
OTHER_MODELS = ("embed", "whisper", "tts", "image", "moderation", "dall-e", "rerank", "audio")


@dataclass
class Step:
    """One step of the test; `state` is a colour of badges: good, wait, bad or off (left out)."""

    name: str
    state: str = GOOD
    text: str = ""
    milliseconds: int = 0


@dataclass
class ConnectionReport:
    """The steps of a test, and new values for columns of the provider's row."""

    model_name: str = ""
    steps: list[Step] = field(default_factory=list)
    columns: JsonObject = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return all(step.state != FAILED for step in self.steps)

    def to_json(self) -> JsonObject:
        return asdict(self) | {"is_good": self.is_good}


class EndOfTest(Exception):
    """A step failed that all later ones need."""


def run_connection_test(
    provider: Provider, wanted_model: str = "", *, examines_dialect: bool = True
) -> ConnectionReport:
    """Test the connection for at most CONNECTION_TEST_SECONDS, and return a report of each step."""
    tokens = list_usable_tokens(provider)
    test = ConnectionTest(provider, tokens, wanted_model or find_model_name(provider, None))
    test.known_names.update(provider.models.values_list("upstream_name", flat=True))
    asyncio.run(test.run_steps(examines_dialect=examines_dialect))
    result = test.result
    if test.findings:
        result.columns = propose_columns(provider, result.model_name, test.findings)
    return result


class ConnectionTest:
    """The steps of one test, and their findings so far."""

    def __init__(
        self, provider: Provider, tokens: list[UpstreamToken | None], model_name: str
    ) -> None:
        self.provider = provider
        self.tokens = tokens
        self.result = ConnectionReport(model_name)
        self.findings: list[Finding] = []
        self.known_names: set[str] = set()  # of the provider's models, at the upstream
        self.credential = Credential(None, "")

    async def run_steps(self, *, examines_dialect: bool) -> None:
        """Run all steps, as far as they lead."""
        try:
            async with asyncio.timeout(settings.CONNECTION_TEST_SECONDS), Clients() as clients:
                adapter = build_probing_adapter(self.provider, clients)
                await self.reach_host(adapter)
                await self.find_credential(adapter)
                await self.list_models(adapter)
                await self.ask_model(adapter, examines_dialect=examines_dialect)
        except EndOfTest:
            pass
        except TimeoutError:
            text = _("The test was ended after %(seconds)s seconds.")
            seconds = f"{settings.CONNECTION_TEST_SECONDS:g}"
            self.result.steps.append(Step("time", FAILED, text % {"seconds": seconds}))
        except GatewayError as error:  # the provider is set aside, or its proxy is not usable
            self.result.steps.append(Step("address", FAILED, str(error)))

    @asynccontextmanager
    async def timed_step(self, name: str, *, is_needed: bool = False) -> AsyncIterator[Step]:
        """Yield a step; it fails with an error of the upstream, and so does the test if needed."""
        step = Step(name)
        self.result.steps.append(step)
        started_at = time.perf_counter()
        try:
            yield step
        except (GatewayError, VaultError) as error:
            step.state = FAILED
            step.text = str(error)[:SHOWN_CHARS]
        finally:
            step.milliseconds = round((time.perf_counter() - started_at) * 1000)
        if is_needed and step.state == FAILED:
            raise EndOfTest

    # --- the host ---------------------------------------------------------------------------------
    async def reach_host(self, adapter: BaseAdapter) -> None:
        """Look the host up, connect to it and negotiate TLS; a proxy does that by itself."""
        if not adapter.has_url:
            return
        if self.provider.find_proxy() is not None:
            self.result.steps.append(Step("dns", SKIPPED, _("The proxy connects to the host.")))
            return
        origin = adapter.get_target("models").origin
        async with self.timed_step("dns", is_needed=True) as step:
            addresses = await look_up_origin(origin)
            step.text = f"{origin.host} → {', '.join(addresses[:4])}"
        async with self.timed_step("tcp", is_needed=True) as step:
            address, _reader, writer = await open_socket(origin, addresses)
            step.text = f"{address}, port {origin.port}"
        try:
            await self.test_tls(origin, writer)
        finally:
            writer.close()

    async def test_tls(self, origin: Origin, writer: asyncio.StreamWriter) -> None:
        async with self.timed_step("tls", is_needed=True) as step:
            if origin.scheme != "https":
                step.state = SKIPPED
                step.text = _("Plain http: everybody on the way can read the tokens.")
                return
            facts = await negotiate_tls(origin, writer)
            step.text = f"{facts.version}, {facts.issuer}"
            if facts.ends_at is not None:
                step.text += f", {_('valid until %(day)s') % {'day': f'{facts.ends_at:%Y-%m-%d}'}}"

    # --- credentials and models -------------------------------------------------------------------
    async def find_credential(self, adapter: BaseAdapter) -> None:
        """Find the first token that the upstream accepts."""
        async with self.timed_step("credential") as step:
            if not self.tokens:
                raise NoAvailableToken(_("It has no usable token: import one, or enable one."))
            if self.tokens == [None]:
                step.text = _("It is asked without a token.")
                return
            for token in self.tokens:
                assert token is not None  # noqa: S101
                self.credential = open_token_credential(token)
                problem = await check_credential(adapter, self.credential)
                if problem is None:
                    step.state = GOOD
                    step.text = _("%(token)s is accepted.") % {"token": token.masked}
                    return
                step.state = FAILED if isinstance(problem, AuthRejected) else WARNING
                step.text = f"{token.masked}: {problem}"[:SHOWN_CHARS]
                if not isinstance(problem, AuthRejected):
                    return

    async def list_models(self, adapter: BaseAdapter) -> None:
        """Read the upstream's list of models; an upstream may have none."""
        async with self.timed_step("models") as step:
            try:
                listed = await adapter.list_model_ids(self.credential)
            except UpstreamError as error:
                if error.upstream_status in NO_LIST_STATUSES:
                    step.state = WARNING
                    step.text = _("It has no list of models: add its models by hand. (%(error)s)")
                    step.text %= {"error": error}
                    return
                raise
            known = len(self.known_names.intersection(listed))
            text = ngettext("%(count)d model listed", "%(count)d models listed", len(listed))
            step.text = text % {"count": len(listed)}
            step.text += f", {_('%(count)d known here') % {'count': known}}"
            self.choose_model(listed)
            self.findings.append(await self.recognize_list(adapter))

    def choose_model(self, listed: list[str]) -> None:
        """Choose a listed model to ask when the provider has none of its own."""
        if not self.result.model_name:
            chats = [
                name
                for name in listed
                if len(name) <= NAME_CHARS and not any(part in name for part in OTHER_MODELS)
            ]
            self.result.model_name = next(iter(chats), "")

    async def recognize_list(self, adapter: BaseAdapter) -> Finding:
        """Return which server it is by its list of models."""
        if not adapter.has_url or adapter.is_stream_only or adapter.has_own_dialect:
            return Finding("models", "")
        entries: object = await adapter.fetch_json("GET", "models", self.credential)
        return Finding("models", "", dialect=recognize_server(entries))

    # --- questions --------------------------------------------------------------------------------
    async def ask_model(self, adapter: BaseAdapter, *, examines_dialect: bool) -> None:
        """Ask for an answer, a streamed word and a tool call; then examine the dialect."""
        if not self.result.model_name:
            text = _("There is no model to ask: add or sync one first.")
            self.result.steps.append(Step("answer", SKIPPED, text))
            return
        prober = Prober(adapter, self.credential, self.result.model_name)
        async with self.timed_step("answer", is_needed=True) as step:
            finding = await field_probes.probe_limits(prober)
            self.findings.append(finding)
            step.text = _("%(model)s answers.") % {"model": self.result.model_name}
        await self.stream_word(prober)
        if adapter.is_stream_only:
            return
        async with self.timed_step("tools") as step:
            finding = await answer_probes.probe_tools(prober)
            self.findings.append(finding)
            step.state = WARNING if finding.fields else GOOD
            step.text = finding.result[:DIALECT_CHARS]
        if examines_dialect and not adapter.has_own_dialect:
            await self.examine_dialect(prober)
        else:
            self.findings.clear()

    async def stream_word(self, prober: Prober) -> None:
        """Ask for a streamed answer, and show its beginning and when it came."""
        async with self.timed_step("stream") as step:
            started_at = time.perf_counter()
            first_at = None
            text = ""
            async for chunk in prober.iterate_stream():
                first_at = first_at or time.perf_counter()
                for choice in chunk.get("choices") or ():
                    text += (choice.get("delta") or {}).get("content") or ""
            if first_at is None:
                raise Rejected(_("The stream ended without a chunk."))
            step.text = _("first chunk after %(ms)s ms: “%(text)s”") % {
                "ms": f"{(first_at - started_at) * 1000:,.0f}",
                "text": text.strip()[:40] or "…",
            }

    async def examine_dialect(self, prober: Prober) -> None:
        """Ask the other questions of an examination."""
        async with self.timed_step("dialect") as step:
            for subject, probe in (ANSWER_PROBES | DIALECT_PROBES).items():
                if subject == "tools":
                    continue
                try:
                    self.findings.append(await probe(prober))
                except UpstreamError as error:
                    self.findings.append(Finding(subject, f"not found out: {error}"))
            step.text = "; ".join(
                f"{finding.subject}: {finding.result}"
                for finding in self.findings
                if finding.result
            )[:DIALECT_CHARS]
