"""Both clients reach upstreams through proxies of each kind, and nothing goes past a proxy."""

import ssl
import time

import pytest
import trustme

from providers.exceptions import BadTls, Unreachable
from providers.network import address_guard, name_lookup
from providers.network.api_client import ApiClient
from providers.network.http_client import RelayClient
from providers.network.proxies.outbound_proxy import parse_proxy_url
from providers.network.target import Target, Timeouts
from providers.protocol.attempt import Attempt
from providers.tests.api_calls import make_call
from providers.tests.network.proxies.forwarding_proxy import ForwardingProxy
from proxysite.testing.upstream import send_reply
from proxysite.testing.upstream_server import Upstream

TIMEOUTS = Timeouts(5, 5, 5, 5, 5)
LOGIN = "june:pa@ss:word"
# scheme of the proxy, credentials that it asks for
PROXIES = [
    ("http", ""),
    ("http", LOGIN),
    ("https", LOGIN),
    ("socks5", ""),
    ("socks5h", LOGIN),
]


class ApiCaller:
    """The client of sign-ins, checks and model lists."""

    def __init__(self):
        self.client = ApiClient()

    async def ask(self, url, proxy, allow_private=True):
        fields = {"allow_private": allow_private, "proxy": proxy, "timeouts": TIMEOUTS}
        call = make_call(url, answer_bytes=1_000_000, **fields)
        return (await self.client.fetch_answer(call)).body

    async def close(self):
        await self.client.close()


class RelayCaller:
    """The client of relayed answers."""

    def __init__(self):
        self.client = RelayClient()

    async def ask(self, url, proxy, allow_private=True):
        target = Target.from_base_url(url, "x", allow_private, TIMEOUTS)
        if proxy is not None:
            target = target.through_proxy(proxy)
        attempt = Attempt("p", "m", deadline=time.perf_counter() + 5)
        with await self.client.send_request("POST", target, b"", b"{}", attempt) as response:
            return await response.read_body(1_000_000)

    async def close(self):
        self.client.close()


@pytest.fixture(params=[ApiCaller, RelayCaller])
async def caller(request):
    made = request.param()
    yield made
    await made.close()


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """A certificate authority that the system trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


def make_server_tls(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
async def secure_upstream(authority):
    server = Upstream(tls=make_server_tls(authority, "named.example"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make_proxy(authority):
    """A function that starts a proxy."""
    started = []

    async def make(scheme, credentials=""):
        tls = make_server_tls(authority, "127.0.0.1") if scheme == "https" else None
        proxy = ForwardingProxy(scheme, credentials, tls)
        await proxy.start()
        started.append(proxy)
        return proxy

    yield make
    for proxy in started:
        await proxy.stop()


def make_address(proxy, credentials=""):
    name, _, password = credentials.partition(":")
    made = parse_proxy_url(proxy.url.replace("://", f"://{name}@" if name else "://"), password)
    assert password not in repr(made) or not password
    return made


@pytest.fixture
def unresolved(monkeypatch):
    """No name server knows a name, as behind a firewall."""

    async def fail(self, name):
        if name_lookup.is_address(name):
            return [name]
        raise Unreachable(name_lookup.NOT_FOUND_TEXT)

    monkeypatch.setattr(name_lookup.Resolver, "find_addresses", fail)


@pytest.mark.parametrize(("scheme", "credentials"), PROXIES)
async def test_a_plain_upstream_is_reached(caller, upstream, make_proxy, scheme, credentials):
    proxy = await make_proxy(scheme, credentials)
    upstream.queue_scripts(send_reply(b"one"), send_reply(b"two" * 100_000))
    address = make_address(proxy, credentials)
    assert await caller.ask(upstream.url, address) == b"one"
    assert await caller.ask(upstream.url, address) == b"two" * 100_000
    assert proxy.targets == [f"127.0.0.1:{upstream.port}"], "the connection is used again"
    head = upstream.last_exchange.request.headers
    assert head["host"] == f"127.0.0.1:{upstream.port}"
    assert "proxy-authorization" not in head


@pytest.mark.parametrize(("scheme", "credentials"), PROXIES)
@pytest.mark.usefixtures("unresolved")
async def test_an_encrypted_upstream_is_reached_by_a_name_that_only_the_proxy_knows(
    caller, secure_upstream, make_proxy, scheme, credentials
):
    proxy = await make_proxy(scheme, credentials)
    secure_upstream.queue_scripts(send_reply(b"ok"))
    url = f"https://named.example:{secure_upstream.port}"
    address = make_address(proxy, credentials)
    assert await caller.ask(url, address, allow_private=False) == b"ok"
    assert proxy.targets == [f"named.example:{secure_upstream.port}"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.usefixtures("unresolved")
async def test_the_upstream_proves_its_name_through_a_proxy_too(
    caller, secure_upstream, make_proxy, scheme
):
    proxy = await make_proxy(scheme)
    with pytest.raises(BadTls):
        await caller.ask(f"https://other.example:{secure_upstream.port}", make_address(proxy))
    assert secure_upstream.requests == []


async def test_connections_of_a_proxy_serve_no_other_way(caller, upstream, make_proxy):
    first, second = await make_proxy("http"), await make_proxy("http")
    upstream.set_default_script(send_reply(b"ok"))
    for proxy in (make_address(first), make_address(second), None, make_address(first)):
        await caller.ask(upstream.url, proxy)
    assert upstream.connections == 3
    assert (len(first.targets), len(second.targets)) == (1, 1)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_private_target_is_refused_before_the_proxy_is_asked(
    caller, upstream, make_proxy, scheme, monkeypatch
):
    proxy = await make_proxy(scheme)

    async def find_private(self, name):
        return ["10.0.0.7"]

    hosts = ["127.0.0.1", "localhost", "router.local", "inside.example"]
    with monkeypatch.context() as patch:
        patch.setattr(name_lookup.Resolver, "find_addresses", find_private)
        for host in hosts:
            with pytest.raises(Unreachable, match=address_guard.PRIVATE_TEXT):
                await caller.ask(f"http://{host}:{upstream.port}", make_address(proxy), False)
    assert proxy.targets == []


@pytest.mark.parametrize(
    ("scheme", "credentials", "given", "refuses", "message"),
    [
        ("http", LOGIN, "", False, r"refused .* \(status 407\)"),
        ("http", "", "", True, r"refused .* \(status 403\)"),
        ("socks5", LOGIN, "", False, "it wants other credentials"),
        ("socks5", LOGIN, "june:wrong", False, "does not take the credentials"),
        ("socks5", "", "", True, r"SOCKS error 2"),
    ],
)
async def test_a_refusal_of_the_proxy_is_an_error_and_nothing_goes_past_it(
    caller, upstream, make_proxy, scheme, credentials, given, refuses, message
):
    proxy = await make_proxy(scheme, credentials)
    proxy.refuses = refuses
    with pytest.raises(Unreachable, match=message) as caught:
        await caller.ask(upstream.url, make_address(proxy, given))
    assert "wrong" not in str(caught.value)
    assert upstream.connections == 0


async def test_a_proxy_that_is_away_is_an_error(caller, upstream, make_proxy):
    proxy = await make_proxy("http")
    await proxy.stop()
    with pytest.raises(Unreachable, match="The proxy cannot be reached"):
        await caller.ask(upstream.url, make_address(proxy))
    assert upstream.connections == 0


async def test_something_that_is_no_proxy_is_an_error(caller, upstream):
    """The upstream itself answers a CONNECT with an error of its own."""
    upstream.set_default_script(send_reply(b"x", 400))
    address = parse_proxy_url(f"http://127.0.0.1:{upstream.port}")
    with pytest.raises(Unreachable, match="status 400"):
        await caller.ask(upstream.url, address)
