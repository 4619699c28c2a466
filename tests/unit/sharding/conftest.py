"""The accelerator as these sources make it, whatever lies beside them; and every backend in turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from shuren.sharding.core import Backend, accel
from shuren.sharding.core import backend as backends
from shuren.sharding.core.accel import build

_NATIVE = "shuren.sharding.core.accel._native"


@pytest.fixture(scope="session", autouse=True)
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Compiles it, once for a process. Gives None, or why there is none."""
    try:
        build.build(place := tmp_path_factory.mktemp("accelerator"))
    except build.BuildError as error:
        yield str(error)
        return
    accel.__path__.insert(0, str(place))
    sys.modules.pop(_NATIVE, None)
    backends._module.cache_clear()
    yield None
    accel.__path__.remove(str(place))


@pytest.fixture
def native(accelerator: str | None) -> ModuleType:
    """The accelerator's module."""
    module = backends.native()
    if module is None:
        assert accelerator is not None, "it was built, and is not found"
        pytest.skip(accelerator)
    return module


@pytest.fixture(params=list(Backend), ids=lambda b: b.value)
def backend(request: pytest.FixtureRequest, accelerator: str | None) -> Backend:
    """Each backend; the accelerator only where there is a compiler."""
    use: Backend = request.param
    if use is Backend.NATIVE and accelerator is not None:
        pytest.skip(accelerator)
    return use
