"""Enough of the Mesos operator API to show hosts, tasks and their files."""
