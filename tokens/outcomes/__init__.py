"""What the answer of an upstream means for its token and its provider."""
