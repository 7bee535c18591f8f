"""/tokenize and /detokenize, also below /v1/: a text as tokens, and back, in vLLM's form."""
