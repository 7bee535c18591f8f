"""Think in steps that the caller sees as they finish, then answer: like O1-API, over any model."""

from conversations.strategies.stepwise.stepwise_answer import answer, answer_fitted

__all__ = ["answer", "answer_fitted"]
