"""The custom resources as pydantic models, and what is generated from them: CRDs and reference pages.

Models carry no behaviour of the operator: controllers translate them into domain values in their gather step.
"""
