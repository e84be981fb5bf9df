"""What operators see and change of a cache of LLM answers: options and commands of `cachecore`."""
