"""The app `proxysite`: the command `serve`, and checks of how the parts fit together."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


class ProxysiteConfig(AppConfig):
    name = "proxysite"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # whoever orders a task needs the app's broker
        from proxysite import celery, checks  # noqa: F401
        from proxysite.access import login_session
        from proxysite.audit import recording
        from proxysite.people import roles

        recording.connect_signals()
        user_logged_in.connect(login_session.record_login, dispatch_uid="login sessions")
        post_migrate.connect(roles.update_roles_after_migration, sender=self)
