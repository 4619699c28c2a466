"""HAProxy's runtime API, its master process, and its program."""
