"""Chat messages, items of the log, and the answer that becomes items."""
