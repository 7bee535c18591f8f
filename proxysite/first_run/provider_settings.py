"""Apply the settings of the K2Think proxy to its provider: mode, address, shown thinking.

A value is applied once. Afterwards the provider is a person's to change, until the variable has
another value. A provider that was there before its variables were is left as it is, with a line.
"""

from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.exceptions import ValidationError

from providers.choices import Mode, Thinking
from providers.models import Provider
from providers.network.address_guard import find_base_url_problem
from proxysite.first_run import environment_records

URL_VARIABLES = ("USER_API_URL", "GUEST_API_URL")
RECORDED_VARIABLES = ("PROXY_MODE", *URL_VARIABLES, "OUTPUT_THINKING")


class SettingRefused(Exception):
    """The value of a setting is not applied; the message says why."""


def apply_settings(provider: Provider, *, is_new: bool) -> Iterator[str]:
    """Apply the settings to the provider, and yield a line for each that is not applied.

    Writes the provider and its models. `is_new` says that the provider was made at this start.
    """
    if is_new:
        provider.mode = Mode.USER if settings.K2THINK_TOKEN else Mode.GUEST
        provider.save()
        for name in RECORDED_VARIABLES:
            environment_records.record_value(name, "")
    url_name, url = "USER_API_URL", settings.USER_API_URL
    if not url:
        url_name, url = "GUEST_API_URL", settings.GUEST_API_URL
    try:
        apply_value("PROXY_MODE", settings.PROXY_MODE, lambda mode: set_mode(provider, mode))
    except SettingRefused as refusal:
        yield f"PROXY_MODE: {refusal}"
    try:
        apply_value(url_name, url, lambda text: set_base_url(provider, text))
    except SettingRefused as refusal:
        yield f"{url_name}: not taken, {refusal}"
    if not settings.OUTPUT_THINKING:
        apply_value("OUTPUT_THINKING", "false", lambda _: hide_thinking(provider))


def apply_value(name: str, value: str, apply: Callable[[str], None]) -> None:
    """Apply one value unless that was done before. Raises SettingRefused."""
    if value and not environment_records.was_imported(name, value):
        apply(value)
        environment_records.record_value(name, value)


def set_mode(provider: Provider, text: str) -> None:
    """Set the mode of the provider. Raises SettingRefused."""
    mode = text.lower()
    if mode not in Mode.values:
        raise SettingRefused(f"{text!r} is neither guest nor user; {provider.mode} is taken.")
    if mode != provider.mode:
        require_record("PROXY_MODE", f"{provider} was in the mode {provider.mode} before")
        provider.mode = mode
        provider.save()


def set_base_url(provider: Provider, text: str) -> None:
    """Set the address of the provider. Raises SettingRefused."""
    url = text.rstrip("/").removesuffix("/chat/completions").removesuffix("/guest")
    if url == provider.base_url:
        return
    require_record(URL_VARIABLES[0], f"{provider} had the address {provider.base_url} before")
    provider.base_url = url
    provider.allow_private = is_private_url(url)
    try:
        provider.full_clean()
    except ValidationError as error:
        provider.refresh_from_db()
        raise SettingRefused(" ".join(error.messages)) from None
    provider.save()


def hide_thinking(provider: Provider) -> None:
    if environment_records.has_record("OUTPUT_THINKING"):
        provider.models.update(thinking=Thinking.HIDDEN)


def require_record(name: str, state: str) -> None:
    """Raise SettingRefused unless the variable was looked at when the provider was made."""
    if not environment_records.has_record(name):
        raise SettingRefused(f"{state}: change it in the admin.")


def is_private_url(url: str) -> bool:
    """Return whether the URL names an address on this machine or network.

    The operator chose it, so plain http is allowed there too.
    """
    https_url = url.replace("http://", "https://", 1)
    return (
        find_base_url_problem(url, True) is None
        and find_base_url_problem(https_url, False) is not None
    )
