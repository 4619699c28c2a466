"""Shuren (数人云): a declarative PaaS over Apache Mesos and Marathon."""

__version__ = "0.1.0"
