"""Definitions as Marathon 1.11 reads, checks, completes and shows them. Pure: JSON in, JSON out, no clock and no world."""
