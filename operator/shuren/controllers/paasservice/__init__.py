"""The kind PaasService: endpoints, discovery records, names and routes, published to ZooKeeper and Kubernetes."""
