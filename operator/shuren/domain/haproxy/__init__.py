"""HAProxy as data: what routes and endpoints mean for it, its configuration as a value, and the commands that bring about a change."""
