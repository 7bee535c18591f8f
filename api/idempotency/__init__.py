"""`Idempotency-Key`: one request, one upstream call and one answer, however often it is sent."""
