"""The row of a provider that is one of Kimi's web interfaces."""

from proxysite.testing import rows


def create_kimi_provider(url, kind, **model_fields):
    """Create a provider of the kind, with the model `m`."""
    row = rows.create_provider(url, models=(), kind=kind, native_tools=False, reports_usage=False)
    rows.create_model(row, "m", "SCENARIO_K2D5", **{"capabilities": ["chat"], **model_fields})
    return row
