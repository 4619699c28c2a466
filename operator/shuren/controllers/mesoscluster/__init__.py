"""The kind MesosCluster: connects clusters and says how they are."""
