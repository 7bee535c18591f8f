"""From one request to the token that answers it.

loop     asks one candidate and token after the other: the only retry loop there is
search   which candidate and token comes next, and when to give up
outcome  what a caller is told when nobody answered
"""
