"""Marathon's own rules as pure functions: the shape of its state, normalisation, difference, rendering, advice."""
