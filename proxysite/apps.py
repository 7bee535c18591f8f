"""The app: owns `serve` and the checks of how the parts fit together."""

from django.apps import AppConfig


class ProxysiteConfig(AppConfig):
    name = "proxysite"

    def ready(self) -> None:
        from proxysite import checks  # noqa: F401
