"""`shuren operator`: the reconciler process."""

from __future__ import annotations

import sys

import typer


def operator(context: typer.Context) -> None:
    """Run the operator. Settings come from the environment: KUBECONFIG (else the pod's ServiceAccount) and SHUREN_*.

    \b
    SHUREN_NAMESPACE            where its Lease lies; shuren-system
    SHUREN_IDENTITY             name of this replica in the Lease; host name and process id
    SHUREN_INSTALLATION         name of this installation in ZooKeeper; uid of kube-system and the namespace
    SHUREN_NAMESPACES           whose resources are reconciled, with commas; all
    SHUREN_WORKERS              passes at the same time; 1000
    SHUREN_EVENT_SOURCE         kopf, or native, which takes far less CPU per event; kopf
    SHUREN_RESYNC_SECONDS       between complete comparisons with the API server; 600
    SHUREN_SHUTDOWN_SECONDS     for passes under way at the end; 20
    SHUREN_METRICS_PORT         of /metrics, /healthz, /readyz; 8080, 0: none
    SHUREN_METRICS_ADDRESS      where these are served; 0.0.0.0
    SHUREN_METRICS_CERTIFICATE  PEM file: they are served under TLS, as it is at each connection; plain HTTP
    SHUREN_METRICS_KEY          PEM file of its key; in the file of the certificate
    SHUREN_METRICS_CLIENT_CA    PEM file: who reads /metrics shows a certificate of this authority; everybody
    SHUREN_LOG_FORMAT           console or json; console
    SHUREN_LOG_LEVEL            DEBUG, INFO, WARNING or ERROR; INFO
    """  # noqa: D301 - the sign by which click leaves lines as they are
    from shuren.operator import run  # noqa: PLC0415 - only this command loads kopf

    sys.exit(run(context.args))
