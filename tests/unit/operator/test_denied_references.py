"""A Secret that the operator may not read: the refusal says which right is missing, where, and how to grant it."""

from __future__ import annotations

import asyncio

import pytest

from shuren.clients.clock import SystemClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Denied
from shuren.domain.identity import ObjectKey
from shuren.operator.references import ReferenceWatch

_OWNER = ObjectKey(kind="PaasApp", namespace="shop", name="web")
_SECRET = ObjectKey(kind="Secret", namespace="shop", name="db")
_WORDS = 'secrets "db" is forbidden: User "system:serviceaccount:shuren-system:shuren-operator" cannot list resource "secrets"'


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            _WORDS,
            (
                "kubectl create rolebinding shuren-secrets-reader -n shop --clusterrole=shuren-secrets-reader "
                "--serviceaccount=shuren-system:shuren-operator"
            ),
        ),
        ("forbidden", "bind the ClusterRole shuren-secrets-reader to the operator in namespace shop"),
    ],
)
async def test_the_refusal_comes_with_its_remedy_and_the_owner_is_told(words: str, remedy: str) -> None:
    kubernetes = FakeKubernetes()
    kubernetes.fail("list", "secrets", Denied(words), times=100)
    told = asyncio.Event()
    owners: list[ObjectKey] = []

    def changed(owner: ObjectKey) -> None:
        owners.append(owner)
        told.set()

    watch = ReferenceWatch(kubernetes=kubernetes, clock=SystemClock(), changed=changed, chance=lambda: 0.0)
    try:
        assert watch.require(_OWNER, frozenset({_SECRET})) is None
        async with asyncio.timeout(10):
            await told.wait()
        with pytest.raises(Denied) as caught:
            watch.require(_OWNER, frozenset({_SECRET}))
    finally:
        await watch.close()
    assert owners == [_OWNER]
    assert words in str(caught.value)
    assert remedy in str(caught.value)
