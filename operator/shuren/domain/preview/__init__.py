"""What would happen: the operator's own decisions, carried on from step to step as if all went well. Pure, like they are."""
