"""`shuren dns`: an authoritative name server for one cluster's zone, fed by ZooKeeper only."""
