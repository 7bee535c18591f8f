"""The common parts of adapters: the OpenAI dialect, web chats, errors, rate limits."""
