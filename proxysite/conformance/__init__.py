"""A wall of sixteen upstream faults, and a judge of how a gateway stands up to them.

timings     how long the faults last: `full`, or `fast` for a run of our own
dialogue    the prompt, and the one text that every healthy answer has
scenarios   the sixteen faults: what the upstream does, and what is asked of a gateway
checks      the single questions that a scenario asks of the evidence
exchange    one request to the faulty upstream, and how it is answered, down to the connection
faults      what each model of the faulty upstream does
upstream    the faulty upstream: a server that plays faults and keeps a log of what it was asked
caller      one request to the gateway, read as a careful client reads it
judge       evidence -> pass, partial, safe, fail or not exercised
run         the sixteen scenarios, one after the other
report      the table and the JSON
local       `make conformance`: our own gateway in front of the faulty upstream

The scenarios are those of Failover Bench 0.1 (S01 to S16), written anew from its description.
docs/conformance.md says where we judge otherwise.
"""
