"""Services: endpoints, routes, names and records, and the decisions about them."""
