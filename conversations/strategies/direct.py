"""Ask once, relay the answer. Once more only where a tool had to be called and the model, told in words, did not."""

from conversations.insisting import answer

__all__ = ["answer"]
