"""People: users, their roles and rights, their sessions, and the pages about them."""
