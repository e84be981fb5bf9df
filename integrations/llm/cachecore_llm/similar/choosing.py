"""Which index a name or an object means: an entry point of `cachecore.similarity`, or the index itself."""

from __future__ import annotations

from cachecore.contract import plugins
from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.index import GramIndex
from cachecore_llm.similar.protocol import GROUP, SimilarityIndex


def chosen_index(
    index: str | SimilarityIndex, *, threshold: float, max_messages: int, max_chars: int, max_bytes: int
) -> SimilarityIndex:
    """Return `index`, or a new one of the plugin of that name within the given bounds.

    Raises:
        PluginNotFound: no plugin is called that, or it cannot be imported.
        OptionsError: the plugin's object is no index, or it does not take the bounds.
    """
    options = {"threshold": threshold, "max_messages": max_messages, "max_chars": max_chars, "max_bytes": max_bytes}
    if index == "grams":  # the usual one, without a look at the installed ones
        return GramIndex(threshold=threshold, max_messages=max_messages, max_chars=max_chars, max_bytes=max_bytes)
    made = plugins.made(GROUP, index, **options) if isinstance(index, str) else index
    if not isinstance(made, SimilarityIndex):
        raise OptionsError(
            f"similar_index must be an entry point of {GROUP} or an object with takes, add, discard, search, "
            f"size_bytes and a length (see SimilarityIndex), not {made!r}"
        )
    return made
