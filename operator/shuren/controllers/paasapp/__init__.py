"""The kind PaasApp: gather -> decide -> apply -> status.

To run it: make a `controller.PaasAppController` on the store before objects arrive (it declares its indexes), with
`controllers.estate.roster.Roster` as its clusters and a `world.References`; enqueue what `triggers` names for each change of an object,
of a cluster and of apps. The store holds PaasApps, MesosClusters, Namespaces (labels) and the ControllerRevisions that carry
`domain.app.snapshot.OWNER_LABEL`, all synced before the first pass.
"""
