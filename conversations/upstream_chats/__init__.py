"""Chats that upstreams keep: notice that one is no longer needed, delete it there."""
