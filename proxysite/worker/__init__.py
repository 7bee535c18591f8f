"""The queue of background tasks where there is no broker."""
