"""The pages of requests in the admin: the list with its filters and sums, and one request."""
