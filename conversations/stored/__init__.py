"""Read, change, delete and export stored conversations, items and completions."""
