"""Find usage records by a person's filters, add them up, and export them.

The table may have many millions of rows, and not every combination of filters has an index. So a
search walks back in time in bounded steps and says how far it came.
"""
