"""The host names that callers use, and what they are told when a name is not known.

The pages that cookies open (the admin, /health, the home page) know the names in ALLOWED_HOSTS
only, so that no foreign name can be made to lead there. Everything under /v1/ and the probes answer
for any name, on both handlers: an API key is sent by a program on purpose, never by a browser by
itself, and a load balancer asks by address.
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

from api import exceptions
from providers.exceptions import InvalidRequest
from proxysite.configuration.setting_values import DEFAULT

logger = logging.getLogger(__name__)
ANY_HOST = ("/v1/", "/healthz", "/readyz")  # beginnings of addresses that answer for any name
LONGEST_NAME = 253  # that DNS allows
MOST_NAMES = 100  # that are logged; whoever invents names fills no log
# an address for documentation: the route to it tells our own address, nothing is sent
ELSEWHERE = "192.0.2.1"
_logged: set[str] = set()


def serves_any_host(path: str) -> bool:
    return path == "/v1" or path.startswith(ANY_HOST[0]) or path in ANY_HOST[1:]


class HostRequest(ASGIRequest):
    """Django's request, which knows any host where that is harmless."""

    def get_host(self) -> str:
        """Return the caller's name for this site. Raises DisallowedHost."""
        try:
            return super().get_host()
        except DisallowedHost:
            if not serves_any_host(self.path_info):
                raise
        name = str(self._get_raw_host())  # type: ignore[attr-defined]
        return name if split_domain_port(name)[0] else "localhost"


def find_name(request: HttpRequest) -> str:
    """Return the name that a request gives this site, bounded, without its port."""
    raw = str(request._get_raw_host())  # type: ignore[attr-defined]
    return (split_domain_port(raw)[0] or raw)[:LONGEST_NAME]


def answer_unknown_host(request: HttpRequest) -> HttpResponse:
    """Answer a request for a name that is not in ALLOWED_HOSTS: a page for people, JSON for
    programs.
    """
    name = find_name(request)
    log_unknown_host(name)
    request_id = exceptions.request_id(request)
    if not wants_page(request):
        text = (
            f"This gateway does not know the host name {name!a}: add it to the setting "
            "ALLOWED_HOSTS and restart."
        )
        return exceptions.answer(InvalidRequest(text, code="unknown_host"), request_id)
    allowed = ",".join([*settings.ALLOWED_HOSTS, name])
    page = render_to_string("unknown_host.html", {"name": name, "allowed": allowed})
    return HttpResponse(
        page, status=400, headers={"cache-control": "no-store", "x-request-id": request_id}
    )


def wants_page(request: HttpRequest) -> bool:
    """Return whether a person in a browser asks: programs accept anything, and name no HTML."""
    return "text/html" in request.headers.get("accept", "")


def log_unknown_host(name: str) -> None:
    """Log each name once."""
    if name in _logged or len(_logged) >= MOST_NAMES:
        return
    _logged.add(name)
    logger.warning("the host name %a is not known: add it to ALLOWED_HOSTS if it is yours", name)
    if len(_logged) == MOST_NAMES:
        logger.warning("%d unknown host names were logged; more are not", MOST_NAMES)


# --- the hint at start --------------------------------------------------------------------------
def describe_missing_names(host: str) -> str:
    """Return a hint when others can reach the port, but ALLOWED_HOSTS names only this machine; else
    "".
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
        return [f"[{host}]" if ":" in host else host]
    names = [socket.gethostname(), *find_address()]
    return [name for name in dict.fromkeys(names) if name and name not in settings.ALLOWED_HOSTS]


def find_address() -> list[str]:
    """Return the address of this machine in its network, or nothing. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE, 9))
            return [str(probe.getsockname()[0])]
    except OSError:
        return []
