"""Report models that were used although their price is unknown.

Nothing is reported while there is no price at all: such a gateway counts no money.
"""

from datetime import UTC, datetime, timedelta

from api.alerts.alert_facts import AlertFacts, make_model_id
from api.alerts.event_records import record_alerts
from api.models import AlertKind, AlertSubject, Price
from api.pricing.unknown_prices import find_unknown_prices

LOOKBACK_SECONDS = 2 * 3_600  # more than the pause between two looks


def report_unknown_prices() -> int:
    """Report each upstream model of an unknown price that was used lately, once a day.

    Returns how many were not reported before.
    """
    if not Price.objects.exists():
        return 0
    today = datetime.now(UTC).date().isoformat()
    facts = [
        AlertFacts(
            AlertKind.UNKNOWN_PRICE,
            AlertSubject.MODEL,
            make_model_id(entry.provider.pk, entry.upstream_model),
            today,
        )
        for entry in find_unknown_prices(span=timedelta(seconds=LOOKBACK_SECONDS))
    ]
    return len(record_alerts(facts)) if facts else 0
