"""The announcement of deeds on rows, for whoever keeps a log of them.

`rows_recorded` is sent before the deed, by `record_in_history`, with `request`, `rows` (empty when
there are too many), `names` (one for each row, or one for all), `change_message` and `flag`.
"""

from django.dispatch import Signal

rows_recorded = Signal()
