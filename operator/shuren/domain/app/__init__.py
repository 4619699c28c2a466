"""What to do about one PaasApp: a pure function from a snapshot of the world to a plan."""
