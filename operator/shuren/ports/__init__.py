"""Protocols through which controllers see the outside, typed with domain values.

Implementations live in `clients`, fakes in `clients.fakes`.
"""
