"""Indexes over passages: words (BM25) and embeddings."""
