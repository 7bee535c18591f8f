"""A body of the Messages API, and the chat body that says the same."""
