"""A conversation as a readable thread: some of its turns, with everything shown as text."""
