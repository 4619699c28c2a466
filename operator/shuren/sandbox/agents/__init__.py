"""Virtual Mesos agents: hosts with addresses in 127.0.0.0/8 and resources of their own."""
