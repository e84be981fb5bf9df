"""Deterministic simulation: a cache in several processes on a simulated store, with every fault, from one seed."""
