"""The body of a response request: its checks, its input, and the chat body made from it."""
