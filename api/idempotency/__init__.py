"""`Idempotency-Key`: one request, one upstream call, one answer, however often it is sent."""
