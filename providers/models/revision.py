"""The models Revision and Tombstone: which rows changed since a reader last looked.

`providers/database/revisions.py` has the triggers that write them.
"""

from django.db import models


class Revision(models.Model):
    """The number of changes to rows that requests read, per topic.

    Only database triggers write it.
    """

    topic = models.CharField(max_length=32, primary_key=True)
    version = models.BigIntegerField(default=0)
    # a reader that knows only an older version reads every row again
    floor = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.topic} {self.version}"


class Tombstone(models.Model):
    """A deleted row of a stamped table, with the version of its topic.

    Only database triggers write it.
    """

    topic = models.CharField(max_length=32)
    row_id = models.CharField(max_length=64)
    version = models.BigIntegerField()
    deleted_at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = [models.Index(fields=["topic", "version"], name="tombstone_topic_version")]

    def __str__(self) -> str:
        return f"{self.topic} {self.row_id}"
