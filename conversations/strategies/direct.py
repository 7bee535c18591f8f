"""Call the upstream once and relay the answer.

A second call is made only when the model had to call a tool, had its tools in the prompt, and did
not call one.
"""

from conversations.upstream_calls.required_tool_call import answer

__all__ = ["answer"]
