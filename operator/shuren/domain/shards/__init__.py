"""Shards: which member holds which shard, how a map gets from one table to the next, and what each move may do when."""
