"""Chats that upstreams keep: notice the ones that are no longer needed, and delete them there."""
