"""From what runs in a Marathon today to resources that ask for exactly that. Pure."""
