"""The connections of callers: HTTP/1.1 on one socket each."""
