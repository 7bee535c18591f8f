"""A database backend: Django's SQLite with a queue for writing transactions.

Use it with ENGINE = "providers.queued_sqlite3". SQLite has one write lock, and a connection that
wants it polls until it is free. With several threads that write long transactions one after the
other, a thread that wants to write one row may poll for seconds and never find the lock free. So
the threads of a process queue up here (`write_queue.py`) before they ask SQLite. Other processes
still have to poll, for as long as `busy_timeout` allows.
"""
