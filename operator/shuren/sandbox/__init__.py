"""A Marathon- and Mesos-compatible engine for one machine: `python -m shuren.sandbox`.

It is a second, independent reading of Marathon 1.11's behaviour, so it imports nothing else of shuren: sharing code with the operator
would hide a shared mistake.
"""
