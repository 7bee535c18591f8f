"""Answers to callers: server-sent events or one JSON body."""
