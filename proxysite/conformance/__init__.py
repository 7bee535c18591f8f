"""Sixteen upstream faults, and a judge of how a gateway handles them.

    timings          how long the faults last: `full`, or `fast` for a run of our own
    dialogue         the prompt, and the one text of every healthy answer
    scenarios        the sixteen faults, and the checks that a gateway must pass in each
    evidence_checks  the single checks of the evidence
    exchange         one request to the faulty upstream, and how it is answered
    faults           the faults themselves, one function for each
    upstream         the faulty upstream: a server that plays faults and logs its requests
    caller           one request to the gateway, read as a careful client reads it
    judge            evidence -> pass, partial, safe, fail or not exercised
    run              the sixteen scenarios, one after the other
    report           the table and the JSON
    local            `make conformance`: our own gateway in front of the faulty upstream

The faulty upstream is also called the wall. The scenarios are those of Failover Bench 0.1 (S01 to
S16), written anew from its description. docs/conformance.md says where we judge differently.
"""
