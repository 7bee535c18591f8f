"""From one request to the token that answers it.

loop     calls one candidate and token after another: the only retry loop there is
search   finds the next one: another provider, a retry after a pause, or a token's single stream
chooser  chooses a candidate and a token from one view of the streams in use
tries    the failed calls of the request, and whether it may try again
outcome  the error for the caller when nobody answered
"""
