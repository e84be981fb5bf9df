"""`openai.embeddings`: vectors that depend on the text, the model and the dimensions alone. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from cachecore_llm.testing.provider import ask as asking
from cachecore_llm.testing.provider.answer import Answer
from cachecore_llm.testing.provider.ask import Ask, tokens
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.fields import Fields, RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Protocol

NAME: Final = "openai.embeddings"
_MAX_INPUTS: Final = 2048
_MAX_DIMENSIONS: Final = 3072
_USUAL: Final = 1536


def _inputs(body: Mapping[str, Any]) -> list[str | list[int]]:
    """Return the inputs: a text, texts, a list of tokens (one input), or lists of tokens. Raises RejectedError."""
    given = body.get("input")
    if isinstance(given, str) or (
        isinstance(given, list) and given and all(isinstance(one, int) and not isinstance(one, bool) for one in given)
    ):
        given = [given]
    if not isinstance(given, list) or not given:
        raise RejectedError(
            400,
            "'$.input' is invalid. Please check the API reference.",
            kind="invalid_input",
        )
    if len(given) > _MAX_INPUTS:
        raise RejectedError(
            400, f"'$.input' is invalid: at most {_MAX_INPUTS} inputs, but got {len(given)}.", param="input"
        )
    for n, one in enumerate(given):
        text = isinstance(one, str) and one != ""
        numbers = (
            isinstance(one, list)
            and one != []
            and all(isinstance(part, int) and not isinstance(part, bool) for part in one)
        )
        if not (text or numbers):
            raise RejectedError(
                400, f"'$.input[{n}]' is invalid: neither a text nor a list of tokens, or empty.", param="input"
            )
    return given


def prompt(body: Mapping[str, Any]) -> str:
    """Return the inputs that are texts, as they were sent."""
    given = body.get("input")
    return "\n".join(asking.texts(given))


def read(body: dict[str, Any], base: Directives | None, header: str) -> Ask:
    """Return the request. Directives are read from the header and the provider's own, not from texts to embed."""
    given = Fields(body, "openai")
    model = given.required("model", str)
    given.required("input", str if isinstance(body.get("input"), str) else list)
    inputs = _inputs(body)
    if given.text("encoding_format") not in (None, "float", "base64"):
        raise given.refuse(
            "encoding_format", "one of the supported values 'float' and 'base64'", body["encoding_format"]
        )
    given.whole("dimensions", most=_MAX_DIMENSIONS)
    directives, _ = asking.directed("", base, header)
    return Ask(
        body=body,
        model=model,
        prompt=prompt(body),
        directives=directives,
        stream=False,
        seed=asking.seed_of(body),
        prompt_tokens=sum(len(tokens(one)) if isinstance(one, str) else len(one) for one in inputs),
    )


@lru_cache(maxsize=4096)
def vector(text: str, model: str, dimensions: int) -> tuple[float, ...]:
    """Return the unit vector of a text, in 32-bit floats: the sum of its tokens' vectors.

    Texts that share words are closer than texts that share none. Fewer dimensions are the first ones of the longer
    vector, scaled to length 1 again.
    """
    sums = [0.0] * dimensions
    for token in {text.strip(), *text.lower().split()}:
        stream = hashlib.shake_128(f"{model}\n{token}".encode("utf-8", "surrogatepass")).digest(2 * dimensions)
        for n, (value,) in enumerate(struct.iter_unpack("<h", stream)):
            sums[n] += value
    length = math.sqrt(sum(value * value for value in sums)) or 1.0
    return struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(value / length for value in sums)))


def whole(ask: Ask, answers: list[Answer], fresh: Fresh) -> dict[str, Any]:
    """Return the body: one embedding for each input, in order."""
    dimensions = ask.body.get("dimensions") or _USUAL
    data = []
    for index, one in enumerate(_inputs(ask.body)):
        text = one if isinstance(one, str) else "tokens " + " ".join(map(str, one))
        values = vector(text, ask.model, dimensions)
        embedding: Any = list(values)
        if ask.body.get("encoding_format") == "base64":
            embedding = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    used = {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
    return {"object": "list", "data": data, "model": ask.model, "usage": used}


PROTOCOL = Protocol(
    name=NAME,
    path="/v1/embeddings",
    vendor="openai",
    read=read,
    whole=whole,
    events=None,
    failure=None,
    deviations=frozenset(("error-200",)),
    prompt=prompt,
)
