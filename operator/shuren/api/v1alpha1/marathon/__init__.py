"""A Marathon 1.11 app definition, as it stands under `spec` of a PaasApp.

Field names, types, limits and defaults are Marathon's; a rule here refuses only what Marathon itself refuses, earlier and with a clearer
word. Defaults are told in the descriptions and never filled in: many of Marathon's depend on other fields.
"""
