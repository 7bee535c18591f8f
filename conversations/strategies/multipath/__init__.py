"""Plan, answer several times at once, and merge: OpenKimi's multi-path reasoning over any model."""

from conversations.strategies.multipath.multipath_answer import answer

__all__ = ["answer"]
