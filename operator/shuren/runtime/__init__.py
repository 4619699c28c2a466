"""The machinery under every controller: queue, store, workers, leader election, back-off. It knows no product word."""
