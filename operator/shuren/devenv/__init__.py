"""Finds, builds, starts and stops the real parts for sandbox, demo and tests. Linux only; knows none of the product's decisions."""
