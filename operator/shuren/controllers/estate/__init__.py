"""The live picture of one Marathon estate that kinds share: mirror, claims, committer, and the registry of connected clusters."""
