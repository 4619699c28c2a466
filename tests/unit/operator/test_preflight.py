"""What is looked at before anything starts, on an API server in memory."""

from __future__ import annotations

import asyncio

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Denied, Gone, Invalid, Throttled, Unreachable
from shuren.operator.preflight import check_kinds, installation
from shuren.operator.settings import Settings
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, Page, Resource

KINDS = (MESOS_CLUSTERS, PAAS_APPS)


class Asked(FakeKubernetes):
    """Remembers which lists it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[tuple[str, str]] = []

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        assert name == "-", "one object that cannot exist: nothing is read"
        self.lists.append((resource.plural, namespace))
        return await super().list(resource, namespace=namespace, name=name, label_selector=label_selector, metadata_only=metadata_only)


async def test_each_kind_is_listed_once_and_in_the_chosen_namespace() -> None:
    kubernetes = Asked()
    await check_kinds(kubernetes, KINDS, Settings(namespaces=("shop", "other")), ManualClock())
    assert kubernetes.lists == [("mesosclusters", ""), ("paasapps", "shop")]


async def test_missing_crds_end_the_process_with_the_command_to_apply_them() -> None:
    kubernetes = FakeKubernetes()
    kubernetes.fail("list", "paasapps", Gone("404"))
    with pytest.raises(Invalid, match=r"paasapps\.paas\.shurenyun\.com.*kubectl apply --server-side -f crds/"):
        await check_kinds(kubernetes, KINDS, Settings(), ManualClock())


async def test_missing_rights_end_it_with_the_rights() -> None:
    kubernetes = FakeKubernetes()
    kubernetes.fail("list", "mesosclusters", Denied("forbidden"))
    with pytest.raises(Denied, match=r"forbidden \(needed: get, list, watch on mesosclusters\.paas\.shurenyun\.com"):
        await check_kinds(kubernetes, KINDS, Settings(), ManualClock())


async def test_an_api_server_that_starts_is_waited_for() -> None:
    kubernetes, clock = FakeKubernetes(), ManualClock()
    kubernetes.fail("list", "mesosclusters", Unreachable("no answer"), times=3)
    kubernetes.fail("list", "paasapps", Throttled("too many requests"))
    checking = asyncio.create_task(check_kinds(kubernetes, KINDS, Settings(), clock))
    await clock.advance(0)
    await clock.advance(10)
    await checking


async def test_one_that_never_answers_is_given_up_after_half_a_minute() -> None:
    kubernetes, clock = FakeKubernetes(), ManualClock()
    kubernetes.fail("list", "mesosclusters", Unreachable("no answer"), times=100)
    checking = asyncio.create_task(check_kinds(kubernetes, KINDS, Settings(), clock))
    await clock.advance(0)
    await clock.advance(30)
    assert not checking.done()
    await clock.advance(2)
    with pytest.raises(Unreachable):
        await checking


async def test_an_installation_is_called_by_the_cluster_and_its_own_namespace(caplog: pytest.LogCaptureFixture) -> None:
    kubernetes = FakeKubernetes()
    assert await installation(kubernetes, Settings()) == "shuren-system", "a cluster without kube-system"
    kube_system = kubernetes.user_apply(NAMESPACES, {"metadata": {"name": "kube-system"}})
    assert await installation(kubernetes, Settings()) == f"{kube_system['metadata']['uid']}/shuren-system"
    assert await installation(kubernetes, Settings(installation="prod")) == "prod"
    kubernetes.fail("get", "namespaces", Denied("forbidden"))
    assert await installation(kubernetes, Settings(namespace="paas")) == "paas"
    assert "Set SHUREN_INSTALLATION" in caplog.text
