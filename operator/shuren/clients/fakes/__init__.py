"""In-memory stand-ins for the outside: typed, deterministic, held to the same contract tests as the real clients."""
