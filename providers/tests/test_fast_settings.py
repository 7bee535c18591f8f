import pytest
from django.test import override_settings

from providers.fast_settings import settings as fast


def test_a_setting_is_read_and_a_change_is_seen(settings: object) -> None:
    before = fast.MAX_ATTEMPTS
    with override_settings(MAX_ATTEMPTS=before + 1):
        assert before + 1 == fast.MAX_ATTEMPTS
    assert before == fast.MAX_ATTEMPTS
    settings.MAX_ATTEMPTS = before + 2  # type: ignore[attr-defined]
    assert before + 2 == fast.MAX_ATTEMPTS


def test_a_name_that_is_no_setting_is_an_error() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH_SETTING"):
        _ = fast.NO_SUCH_SETTING
