"""Anthropic's Messages API, and services that speak the same: a dialect adapter.

`request_body.py` writes a chat body as a Messages body, with one module for each of its parts;
`message_events.py` and `whole_message.py` read answers as OpenAI's chunks. A request whose caller
wrote a Messages body is sent as it came, and its answer carries the upstream's own events.
"""

from providers.adapters.anthropic.messages_adapter import Adapter

__all__ = ["Adapter"]
