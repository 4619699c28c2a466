"""The optional C accelerator: `native.c`, and `python -m shuren.sharding.core.accel.build`, which compiles it where a compiler is."""
