"""What a cluster's DNS zone holds, as values: pure, whoever serves it."""
