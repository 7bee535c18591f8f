"""Moonshot AI's official interface (api.moonshot.ai, api.moonshot.cn): OpenAI's dialect, and more.

The credential is an API key. Beyond OpenAI's dialect there are:
- usage inside the last chunk's choice;
- web search, a built-in function that this adapter answers when search is on;
- file extraction, used for models whose row lists `files`;
- a balance that tells whether a key works.

Partial mode (`partial` on the last message), `thinking`, `max_completion_tokens` and `ms://` images
are the caller's own fields and are passed on. The service refuses images at plain web addresses, so
they are refused here at once. Source: Moonshot's API documentation (platform.kimi.ai): chat, files,
web search, balance, error codes.
"""

from providers.adapters.moonshot.moonshot_adapter import Adapter

__all__ = ["Adapter"]
