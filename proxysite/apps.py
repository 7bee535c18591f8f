"""The app `proxysite`: the command `serve`, and checks of how the parts fit together."""

from django.apps import AppConfig


class ProxysiteConfig(AppConfig):
    name = "proxysite"

    def ready(self) -> None:
        # whoever orders a task needs the app's broker
        from proxysite import celery, checks  # noqa: F401
        from proxysite.desk.model_texts import translate_model_texts

        translate_model_texts()
