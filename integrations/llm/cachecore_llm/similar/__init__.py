"""Answers to similar questions: which questions are alike, and which of those may share an answer."""

from cachecore_llm.similar.answers import AnsweredQuestions, SimilarAnswer

__all__ = ["AnsweredQuestions", "SimilarAnswer"]
