"""The cache's own headers of an answer, which tell how it came."""

from __future__ import annotations

from cachecore_llm.flow import Answer
from cachecore_llm.flow.batch import Batch
from cachecore_llm.flow.whole import STATUS
from cachecore_llm.http.answer_headers import age, cache_status
from cachecore_llm.response import CacheStatus


def status_headers(
    status: CacheStatus,
    *,
    age_seconds: float | None,
    fresh_for: float | None,
    key: str,
    stored: bool,
    reason: str | None,
) -> dict[str, str]:
    """Return `Cache-Status` and, where the answer came from the cache, `Age`."""
    digest = key.rpartition(":")[2].rpartition("}")[2] or None
    if status == "hit":
        told = cache_status(hit=True, ttl=fresh_for, key=digest)
    elif status == "stale":
        told = cache_status(hit=True, ttl=fresh_for, key=digest, detail="stale")
    elif status == "similar":
        told = cache_status(forward="miss", key=digest, detail="similar")
    elif status == "bypass":
        told = cache_status(forward="bypass", detail=word(reason))
    else:
        told = cache_status(forward="miss", stored=stored, collapsed=status == "joined", key=digest)
    headers = {"cache-status": told}
    if status in ("hit", "stale", "similar") and age_seconds is not None:
        headers["age"] = age(age_seconds)
    return headers


def headers_of(answer: Answer) -> dict[str, str]:
    """Return the headers of `answer` that are the cache's own."""
    return status_headers(
        answer.status,
        age_seconds=answer.age,
        fresh_for=answer.fresh_for,
        key=answer.key,
        stored=answer.stored_now,
        reason=answer.reason,
    )


def batch_headers(made: Batch, inputs: int) -> dict[str, str]:
    """Return the cache's own headers of the answers to so many inputs."""
    computed, one = len(made.computed), made.lookup
    if one is not None and not computed:
        return status_headers(
            "joined" if one.joined else STATUS[one.outcome],
            age_seconds=one.age,
            fresh_for=one.fresh_for,
            key=one.key,
            stored=False,
            reason=None,
        )
    if made.bypass is not None:
        return {"cache-status": cache_status(forward="bypass", detail=word(made.bypass))}
    if not computed:
        return {"cache-status": cache_status(hit=True)}
    return {"cache-status": cache_status(forward="partial" if computed < inputs else "miss", stored=made.stored)}


def word(reason: str | None) -> str | None:
    """Return a reason as one word of a header."""
    return None if reason is None else "".join(letter if letter.isalnum() else "_" for letter in reason.lower())[:60]
