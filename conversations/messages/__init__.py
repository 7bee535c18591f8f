"""Chat messages, the items of conversations, and the items of an answer."""
