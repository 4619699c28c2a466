"""The controller of the kind ShardMap."""
