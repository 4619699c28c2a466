"""The Kubernetes API over httpx: a few verbs on JSON objects. No dependency on the `kubernetes` package."""
