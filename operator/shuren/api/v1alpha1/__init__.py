"""Version v1alpha1 of the group paas.shurenyun.com: one module per kind; `marathon` holds the Marathon part of a PaasApp."""
