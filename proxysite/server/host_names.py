"""The host names that callers may use, and the answer to an unknown one.

Pages that cookies open (the admin, the home page) accept the names in ALLOWED_HOSTS only, so that
nobody can point a foreign name at them. Everything under /v1/ and the probes accept any name, in
both handlers: a program sends its API key on purpose, a browser never sends it by itself, and a
load balancer asks by address.
"""

import ipaddress
import logging
import socket

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.template.loader import render_to_string
from django.utils.translation import get_language

from api import exceptions
from api.address_hints import is_unknown_address
from providers.exceptions import InvalidRequest
from proxysite.configuration.setting_values import DEFAULT

logger = logging.getLogger(__name__)
PROBE_PATHS = ("/health", "/healthz", "/readyz")
LONGEST_NAME = 253  # characters that DNS allows
MOST_LOGGED_NAMES = 100  # names that are logged, so that invented names do not fill the log
# an address for documentation (RFC 5737): its route shows our own address; nothing is sent
FOREIGN_ADDRESS = "192.0.2.1"
_logged_names: set[str] = set()


def serves_any_host(path: str) -> bool:
    """Return whether a path is served under any host name; a wrong one is answered with the right.

    Under /v1 a key is shown, the probes are open, and where there is nothing there is no secret.
    """
    is_api = path == "/v1" or path.startswith("/v1/")
    return is_api or path in PROBE_PATHS or is_unknown_address(path)


class HostRequest(ASGIRequest):
    """Django's request, which accepts any host name where that does no harm."""

    def get_host(self) -> str:
        """Return the name that the caller uses for this site. Raises DisallowedHost."""
        try:
            return super().get_host()
        except DisallowedHost:
            if not serves_any_host(self.path_info):
                raise
        name = str(self._get_raw_host())  # type: ignore[attr-defined]
        return name if split_domain_port(name)[0] else "localhost"


def read_host_name(request: HttpRequest) -> str:
    """Return the name that a request gives this site, without its port, cut to LONGEST_NAME."""
    raw = str(request._get_raw_host())  # type: ignore[attr-defined]
    return (split_domain_port(raw)[0] or raw)[:LONGEST_NAME]


def answer_unknown_host(request: HttpRequest) -> HttpResponse:
    """Answer a request for a name that is not in ALLOWED_HOSTS.

    A browser gets a page, a program a JSON error. Each name is logged once.
    """
    name = read_host_name(request)
    log_unknown_host(name)
    request_id = exceptions.get_request_id(request)
    if not wants_page(request):
        text = (
            f"This gateway does not know the host name {name!a}: add it to the setting "
            "ALLOWED_HOSTS and restart."
        )
        return exceptions.render_error(InvalidRequest(text, code="unknown_host"), request_id)
    allowed = ",".join([*settings.ALLOWED_HOSTS, name])
    page = render_to_string(
        "unknown_host.html", {"name": name, "allowed": allowed, "language": get_language() or "en"}
    )
    return HttpResponse(
        page, status=400, headers={"cache-control": "no-store", "x-request-id": request_id}
    )


def wants_page(request: HttpRequest) -> bool:
    """Return whether a browser asks: programs accept anything and do not name HTML."""
    return "text/html" in request.headers.get("accept", "")


def log_unknown_host(name: str) -> None:
    """Log each name once, MOST_LOGGED_NAMES at most."""
    if name in _logged_names or len(_logged_names) >= MOST_LOGGED_NAMES:
        return
    _logged_names.add(name)
    logger.warning("the host name %a is not known: add it to ALLOWED_HOSTS if it is yours", name)
    if len(_logged_names) == MOST_LOGGED_NAMES:
        logger.warning("%d unknown host names were logged; more are not", MOST_LOGGED_NAMES)


# --- the hint at start --------------------------------------------------------------------------
def describe_missing_names(host: str) -> str:
    """Return a hint when others can reach the port but ALLOWED_HOSTS names only this machine.

    Without a reason for a hint it returns "".
    """
    if settings.DECLARED["ALLOWED_HOSTS"].source != DEFAULT or is_loopback(host):
        return ""
    names = find_own_names(host)
    return (
        "Others reach the API under any name, and the admin only under names in ALLOWED_HOSTS; "
        "for example: "
        f"ALLOWED_HOSTS={','.join([*settings.ALLOWED_HOSTS, *names])}"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def find_own_names(host: str) -> list[str]:
    """Return names and addresses under which other machines may know this one."""
    if host not in ("", "0.0.0.0", "::"):  # noqa: S104 - asked, not listened on
        return [bracket_ipv6(host)]
    names = [socket.gethostname(), *find_own_address()]
    return [name for name in dict.fromkeys(names) if name and name not in settings.ALLOWED_HOSTS]


def bracket_ipv6(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def find_own_address() -> list[str]:
    """Return the address of this machine in its network, or nothing. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((FOREIGN_ADDRESS, 9))
            return [str(probe.getsockname()[0])]
    except OSError:
        return []
