"""The resource ShardMap: who its members are, what is published of it, what a pass does about it, and what its status says."""
