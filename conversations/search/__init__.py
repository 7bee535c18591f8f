"""Full-text search in conversations."""
