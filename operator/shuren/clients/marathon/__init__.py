"""Marathon 1.11 over httpx."""
