"""Database work: threads, deadlines, leases, triggers, changed rows."""
