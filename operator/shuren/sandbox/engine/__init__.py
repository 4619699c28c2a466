"""The engine's live room: deployments, scheduler, instances, health, events and persistence, behind `contract.LiveEngine`."""
