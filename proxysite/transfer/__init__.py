"""Copy all rows of the home's SQLite database into a Postgres database."""
