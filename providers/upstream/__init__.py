"""What adapters have in common: the OpenAI dialect, web chats, errors, rate limits."""
