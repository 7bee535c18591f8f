"""Answers that are relayed as they are: images, audio, moderations and rerank."""
