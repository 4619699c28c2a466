"""Adapters to the outside: the only room that imports httpx and kazoo. Foreign errors become `domain.errors` at this boundary."""
