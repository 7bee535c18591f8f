"""Ask once, relay the answer. Once more only where a tool had to be called and the model, told in
words, did not.
"""

from conversations.upstream_calls.required_tool_call import answer

__all__ = ["answer"]
