"""Everyday faults of tools that do this job, one test for each kind, on the stores that programs use.

A file for each subject (`test_answers.py`: are the answers right?). A test states the right values; it takes the
fixture `url` and so runs on each store, builds its caches with `opened`, and orders events by waiting for them, not by
sleeping. What depends on hours of time or on chance is tested in `tests/unit`, in virtual time.
"""
