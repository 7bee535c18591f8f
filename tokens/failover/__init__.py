"""From one request to the token that answers it.

loop     asks one candidate and token after the other: the only retry loop there is
search   finds whom to ask next: elsewhere, again after a pause, or with a token's one stream
chooser  chooses a candidate and a token from one view of what is in use
tries    what was tried in vain, and whether the request may try on
outcome  what a caller is told when nobody answered
"""
