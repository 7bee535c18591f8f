"""The database that is copied."""

from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from api.models import UsageHour, UsageRecord
from proxysite.transfer.source import SourceDatabase


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite is copied")
def test_the_copy_has_the_sums_of_records_that_were_in_none_and_the_source_stays(
    transactional_db: None,
) -> None:
    UsageRecord.objects.create(
        started_at=timezone.now(), endpoint="e", model="m", stream=False, status="complete"
    )
    with closing(SourceDatabase(Path(connection.settings_dict["NAME"]))) as source:
        source.fold_usage_records()
        assert source.count_rows("api_usagehour") == 1
        assert source.count_rows("api_rollupstate") == 1
    assert UsageHour.objects.count() == 0
