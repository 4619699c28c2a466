"""`shuren lb`: the agent beside HAProxy. It reads ZooKeeper, drives HAProxy, and tells ZooKeeper what it has brought about."""
