"""ZooKeeper through kazoo, bridged to asyncio, and the fence around every write of the operator."""
