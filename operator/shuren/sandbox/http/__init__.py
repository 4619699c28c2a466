"""Marathon's HTTP surface over a live engine: routes, headers, negotiation, error bodies, event stream."""
