"""Who may claim which ids."""

from __future__ import annotations

import pytest
from hypothesis import given

from shuren.domain.tenancy import Namespace, Operator, PrefixRule, Requirement, Selector, Tenancy, allowed_prefixes, refusal
from strategies import app_ids

_SHOP = Namespace(name="shop", labels={"team": "a", "paas": ""})


def _selector(*requirements: Requirement) -> Selector:
    return Selector(requirements=requirements)


@pytest.mark.parametrize(
    ("requirement", "labels", "holds"),
    [
        (Requirement(key="team", operator=Operator.IN, values=("a", "b")), {"team": "a"}, "yes"),
        (Requirement(key="team", operator=Operator.IN, values=("a",)), {"team": "b"}, "no"),
        (Requirement(key="team", operator=Operator.IN, values=("a",)), {}, "no"),
        (Requirement(key="team", operator=Operator.NOT_IN, values=("a",)), {"team": "b"}, "yes"),
        (Requirement(key="team", operator=Operator.NOT_IN, values=("a",)), {"team": "a"}, "no"),
        (Requirement(key="team", operator=Operator.NOT_IN, values=("a",)), {}, "yes"),
        (Requirement(key="team", operator=Operator.EXISTS), {"team": ""}, "yes"),
        (Requirement(key="team", operator=Operator.EXISTS), {}, "no"),
        (Requirement(key="team", operator=Operator.DOES_NOT_EXIST), {}, "yes"),
        (Requirement(key="team", operator=Operator.DOES_NOT_EXIST), {"team": ""}, "no"),
    ],
)
def test_selectors_are_kubernetes(requirement: Requirement, labels: dict[str, str], holds: str) -> None:
    assert _selector(requirement).matches(labels) is (holds == "yes")


def test_an_empty_selector_matches_everything_and_all_requirements_must_hold() -> None:
    assert Selector().matches({})
    both = _selector(Requirement(key="a", operator=Operator.EXISTS), Requirement(key="b", operator=Operator.EXISTS))
    assert not both.matches({"a": ""})


def test_a_namespace_has_its_own_prefix_and_nothing_else() -> None:
    assert allowed_prefixes(Tenancy(), _SHOP) == ("/shop",)
    assert refusal(Tenancy(), _SHOP, "/shop/web", cluster="bj1") is None
    told = refusal(Tenancy(), _SHOP, "/shopping/web", cluster="bj1")
    assert told is not None
    for word in ("shop", "/shopping/web", "bj1", "spec.id", "idPrefixes"):
        assert word in told


def test_rules_add_prefixes_to_the_namespaces_that_they_select() -> None:
    rule = PrefixRule(selector=_selector(Requirement(key="team", operator=Operator.IN, values=("a",))), prefixes=("/legacy/", "/x"))
    tenancy = Tenancy(rules=(rule,))
    assert allowed_prefixes(tenancy, _SHOP) == ("/legacy/", "/shop", "/x")
    assert refusal(tenancy, _SHOP, "/legacy/web", cluster="bj1") is None
    assert refusal(tenancy, Namespace(name="other", labels={}), "/legacy/web", cluster="bj1") is not None


@given(app_ids)
def test_a_rule_for_the_root_grants_everything(app_id: str) -> None:
    tenancy = Tenancy(rules=(PrefixRule(selector=Selector(), prefixes=("/",)),))
    assert refusal(tenancy, _SHOP, app_id, cluster="bj1") is None


@given(app_ids)
def test_without_rules_nothing_outside_the_own_prefix_is_granted(app_id: str) -> None:
    own = app_id == "/shop" or app_id.startswith("/shop/")
    assert (refusal(Tenancy(), _SHOP, app_id, cluster="bj1") is None) is own


def test_a_namespace_that_may_not_use_the_cluster_is_told_why() -> None:
    tenancy = Tenancy(namespaces=_selector(Requirement(key="gold", operator=Operator.EXISTS)))
    told = refusal(tenancy, _SHOP, "/shop/web", cluster="bj1")
    assert told is not None
    assert "may not use cluster bj1" in told


def test_a_long_list_of_prefixes_is_cut() -> None:
    rule = PrefixRule(selector=Selector(), prefixes=tuple(f"/p{n}" for n in range(9)))
    told = refusal(Tenancy(rules=(rule,)), _SHOP, "/other", cluster="bj1")
    assert told is not None
    assert "…" in told
