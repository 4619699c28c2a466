"""Label selectors of resources as domain values."""

from __future__ import annotations

from shuren.api.v1alpha1.references import LabelSelector
from shuren.domain.tenancy import Operator, Requirement, Selector


def selector_of(selector: LabelSelector) -> Selector:
    """The same selector; an empty one selects everything."""
    equal = [Requirement(key=key, operator=Operator.IN, values=(value,)) for key, value in sorted((selector.match_labels or {}).items())]
    others = [
        Requirement(key=r.key, operator=Operator(r.operator.value), values=tuple(r.values or ())) for r in selector.match_expressions or []
    ]
    return Selector(requirements=(*equal, *others))
