"""Every decision of the product, pure: no I/O, no clock, no randomness, no asyncio, no third-party import."""
