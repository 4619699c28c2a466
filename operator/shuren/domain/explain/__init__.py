"""Why something does not work: the way from a resource to an answer, link by link. Pure."""
