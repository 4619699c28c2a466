"""Mesos masters over HTTP: the little of the operator API that the product reads."""
