import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.network.address_guard import find_base_url_problem, is_public_address

INTERNET = [
    "8.8.8.8",
    "1.1.1.1",
    "104.16.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
]
INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "::1%lo"],
    "private": [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "fc00::1",
        "fd12:3456::1",
    ],
    "link-local": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "this network": ["0.0.0.0", "0.1.2.3", "::"],
    "broadcast and reserved": ["255.255.255.255", "240.0.0.1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0.0.0.0"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1"],
    "6to4 and Teredo": ["2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378::1"],
    "site-local": ["fec0::1"],
    "documentation and benchmarks": [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "2001:db8::1",
    ],
    "protocol assignments": ["192.0.0.1", "100::1"],
}


@pytest.mark.parametrize("address", INTERNET)
def test_an_ordinary_host_is_public(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address", [address for addresses in INSIDE.values() for address in addresses]
)
def test_an_address_of_another_network_is_not(address: str) -> None:
    assert not is_public_address(address)


GOOD = [
    "https://api.example.com",
    "https://api.example.com/v1",
    "https://api.example.com/v1/",
    "https://api.example.com:8443/openai/v1",
    "https://API.Example.COM/v1",
    "https://8.8.8.8/v1",
    "https://[2606:4700::1111]/v1",
    "https://xn--bcher-kva.example/v1",
    "https://1e100.net",
    "https://api.example.com/v1/accounts/%7Bid%7D",
]


@pytest.mark.parametrize("url", GOOD)
def test_the_base_url_of_a_service_is_taken(url: str) -> None:
    assert find_base_url_problem(url, allow_private=False) is None


PRIVATE = [
    "https://127.0.0.1",
    "https://127.0.0.1:11434/v1",
    "https://10.0.0.1/v1",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1",
    "https://0.0.0.0",
    "https://224.0.0.1",
    "https://[::1]/v1",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://localhost",
    "https://LOCALHOST:8000",
    "https://a.localhost/v1",
    "https://printer.local",
    "https://metadata.google.internal",
    "http://api.example.com/v1",
    "http://127.0.0.1:11434/v1",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_or_plain_http_needs_the_flag(url: str) -> None:
    assert find_base_url_problem(url, allow_private=False)
    assert find_base_url_problem(url, allow_private=True) is None


DISGUISED = {
    "a decimal address": "https://2130706433/",
    "an octal address": "https://0177.0.0.1/",
    "a long octal address": "https://017700000001/",
    "a hexadecimal address": "https://0x7f000001/",
    "a hexadecimal part": "https://0x7f.0.0.1",
    "a hexadecimal last part": "https://127.0.0.0x1",
    "a short address": "https://127.1/",
    "zero": "https://0/",
    "digits of other scripts": "https://①②⑦.0.0.1",
    "Devanagari digits": "https://१२७.१.१.१/",
}


@pytest.mark.parametrize("case", DISGUISED)
def test_an_address_in_another_spelling_is_refused(case: str) -> None:
    assert find_base_url_problem(DISGUISED[case], allow_private=False)


MALFORMED = {
    "nothing": "",
    "no scheme": "api.example.com/v1",
    "only a path": "//api.example.com/v1",
    "another scheme": "ftp://api.example.com",
    "a file": "file:///etc/passwd",
    "a unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1",
    "no host": "https:///v1",
    "a user": "https://user@api.example.com",
    "a user and a password": "https://user:secret@api.example.com",
    "an empty user": "https://@api.example.com",
    "a user that looks like the host": "https://api.example.com:443@127.0.0.1/",
    "a fragment": "https://api.example.com/v1#x",
    "an empty fragment": "https://api.example.com/v1#",
    "a fragment before the host ends": "https://127.0.0.1#.example.com",
    "a query": "https://api.example.com/v1?a=b",
    "an empty query": "https://api.example.com/v1?",
    "a trailing dot": "https://api.example.com./v1",
    "a trailing dot on localhost": "https://localhost./",
    "a percent in the host": "https://exa%6dple.com/",
    "a zone": "https://[fe80::1%25eth0]/",
    "a backslash": "https://api.example.com\\@127.0.0.1/",
    "a backslash in the path": "https://api.example.com/v1\\..",
    "a space": "https://api.exam ple.com",
    "a space around": " https://api.example.com",
    "a line end": "https://api.example.com\n",
    "a line end inside": "https://api.example.com\r\nHost: x/",
    "a tab": "https://api.example.com\t/",
    "NUL": "https://api.example.com\0/",
    "a letter that is not ASCII": "https://exämple.com",
    "a full stop that is not ASCII": "https://example。com",
    "an open bracket": "https://[::1",
    "an unreadable A-label": "https://xn--/",
    "a port beyond the last": "https://api.example.com:99999",
    "port 0": "https://api.example.com:0",
    "an empty label": "https://api..example.com",
    "a leading dot": "https://.example.com",
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("allow_private", [False, True])
def test_what_is_no_plain_base_url_is_refused_flag_or_not(case: str, allow_private: bool) -> None:
    assert find_base_url_problem(MALFORMED[case], allow_private)


PIECES = [
    "https://",
    "http://",
    "a.example",
    "127.0.0.1",
    "[::1]",
    "@",
    "#",
    "?",
    "\\",
    "%",
    ".",
    "/",
    ":",
    "99",
    "xn--",
    "é",
]


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(max_size=20))
def test_any_text_gets_a_sentence_or_nothing(text: str) -> None:
    found = find_base_url_problem(text, allow_private=False)
    assert found is None or found.endswith(".")
    if found is None:
        url = httpx.URL(text)
        assert (url.scheme, url.userinfo, url.query, url.fragment) == ("https", b"", b"", "")
        assert url.host not in ("127.0.0.1", "::1", "99")


@pytest.mark.parametrize("ending", ["chat/completions", "completions", "models", "messages/"])
def test_the_address_of_a_single_endpoint_is_no_base_url(ending: str) -> None:
    problem = find_base_url_problem(f"https://api.example.com/v1/{ending}", allow_private=False)
    assert problem is not None
    assert problem.startswith(f"Leave /{ending.rstrip('/')} out")
