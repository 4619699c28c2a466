"""What runs beside traffic (load-balancer agent, DNS); it reads ZooKeeper only and needs no Kubernetes."""
