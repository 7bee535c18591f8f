"""Answers on their way out: server-sent events or one JSON body."""
