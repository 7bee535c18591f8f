"""The index page of the admin: what it shows, and the two forms on it."""
