"""The ways of a call through the cache: whole, many at once, streamed. Each is written once, for every face."""

from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.flow import Flow
from cachecore_llm.flow.misses import MissReport
from cachecore_llm.flow.responses import body_of, response_of
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.flow.streams import AnswerStream

__all__ = ["Answer", "AnswerStream", "Flow", "MissReport", "StoredAnswer", "body_of", "response_of"]
