"""Django's SQLite, whose writing transactions wait for each other in a queue. ENGINE =
"providers.queued_sqlite3".

SQLite has one write lock, and who wants it looks again and again whether it is free. With several
threads that write long transactions one after the other, a thread that wants to write one row may
look for seconds and never find it free. So the threads of a process queue up here
(`write_queue.py`) before they ask SQLite. Other processes still have to look again and again, which
`busy_timeout` bounds.
"""
