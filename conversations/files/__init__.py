"""Files that users store, and their use in a chat."""
