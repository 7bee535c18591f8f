"""The queue of background tasks when there is no broker."""
