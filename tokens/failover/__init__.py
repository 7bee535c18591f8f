"""From one request to the token that answers it.

loop              makes attempts until one is answered: the only retry loop there is
candidate_walk    finds the next choice: another provider, or a retry after a pause
chooser           chooses a candidate and a token from one view of the streams in use
single_stream     claims the stream of a token that may have one at a time
upstream_attempt  one call with one token, and its outcome
tries             the failed calls of the request, and whether it may try again
outcome           the error for the caller when nobody answered
"""
