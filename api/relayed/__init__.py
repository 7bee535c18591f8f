"""Endpoints whose bodies are passed on as they are: images, audio, moderations and rerank."""
