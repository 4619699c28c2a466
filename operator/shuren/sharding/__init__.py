"""The library that applications import: key -> slot -> member. The pure part is `shuren.sharding.core`; standard library only."""
