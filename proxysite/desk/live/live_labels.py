"""The words that the page's script shows for the codes in frames, in the person's language."""

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def list_labels() -> dict[str, dict[str, str]]:
    """Return the labels, by subject and code."""
    return {
        "state": {
            "waiting": _("waiting for a token"),
            "asked": _("waiting for the first byte"),
            "streaming": _("streaming"),
        },
        "status": {
            "complete": pgettext("a request", "complete"),
            "error": _("error"),
            "truncated": _("cut by an upstream error"),
            "abandoned": _("the caller left"),
            "interrupted": _("our process ended"),
            "refused": _("refused by a limit"),
        },
        "token": {
            "active": pgettext("a token", "active"),
            "resting": pgettext("a token", "resting"),
            "exhausted": pgettext("a token", "exhausted"),
            "failing": pgettext("a token", "failing"),
            "disabled": pgettext("a token", "disabled"),
        },
        "breaker": {
            "closed": _("asked as usual"),
            "open": _("not asked"),
            "half-open": _("the next request finds out"),
        },
        "link": {
            "connecting": _("Connecting…"),
            "live": _("Live"),
            "polling": _("Live, by polling"),
            "lost": _("Connection lost. Trying again…"),
            "forbidden": _("You may not see the live board any more. Log in again."),
            "paused": _("Paused"),
        },
        "text": {
            "unknown_cost": _("unknown"),
            "more_running": _("Not listed: %(count)s more that run."),
            "more_finished": _("Not listed: %(count)s more that finished just now."),
            "new_rows": _("%(count)s new"),
            "processes": _("Processes: %(count)s"),
            "unseen": _(
                "Processes whose running requests are not seen here: %(count)s. Set REDIS_URL to "
                "see all."
            ),
            "database_away": _("The database does not answer: names and changes come later."),
            "redis_away": _("Redis does not answer: other processes are not seen."),
            "no_key": _("no key"),
            "tries": _("%(count)s attempts"),
            "failed": _("failed"),
            "done": _("done"),
            "by": _("by %(name)s"),
            "folded": _("%(count)s requests"),
        },
    }
