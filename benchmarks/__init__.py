"""Benchmarks: a module for each question, run by `python -m benchmarks`.

`running/` has the tools (rounds in a drawn order, the watch on the machine, results, pictures, the page), `peers/` one
file for each cache that is compared, `results/` what was measured last. A file `peers/NAME.py` with a list `PEERS` adds
a peer to every question that it has the parts for; a module with `QUESTION = Question(…)` adds a question.
"""
