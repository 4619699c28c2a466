"""One package per kind (gather -> decide -> apply -> status), and `estate`: the live picture of one Marathon that kinds share."""
