"""Plan, answer several times at once, and merge: OpenKimi's multi-path reasoning over any model."""

from conversations.strategies.multipath.multipath_answer import answer, answer_fitted

__all__ = ["answer", "answer_fitted"]
