"""Answers to similar questions: which questions are alike, and which of those may share an answer."""

from cachecore_llm.similar.answers import AnsweredQuestions, SimilarAnswer
from cachecore_llm.similar.protocol import Match, SimilarityIndex

__all__ = ["AnsweredQuestions", "Match", "SimilarAnswer", "SimilarityIndex"]
