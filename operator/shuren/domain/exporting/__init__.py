"""From resources of this product to plain Kubernetes objects, and a report of what has no equal there. Pure."""
