"""OpenAI's Batch API: the lines of a file are requests, answered in the background."""
