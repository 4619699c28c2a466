"""From a spec and the values it refers to, to the definition: variables, files, patches, and what of it is secret."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shuren.domain.app.render import File, Recipe, Rendered, Source, SourceKind, Variable, missing, render
from shuren.domain.errors import Invalid

SECRET = Source(kind=SourceKind.SECRET, name="db", key="password")
MAP = Source(kind=SourceKind.CONFIG_MAP, name="conf", key="app.ini")
OPTIONAL = Source(kind=SourceKind.SECRET, name="extra", key="token", optional=True)


def recipe(*parts: Variable | File, patches: tuple[dict[str, Any], ...] = (), **definition: Any) -> Recipe:
    return Recipe(
        app_id="/shop/web",
        definition={"cmd": "./run", **definition},
        variables=tuple(p for p in parts if isinstance(p, Variable)),
        files=tuple(p for p in parts if isinstance(p, File)),
        patches=patches,
    )


def rendered(of: Recipe, **values: bytes) -> Rendered:
    """With values by the name of the Secret or ConfigMap."""
    return render(of, {source: values.get(source.name) for source in of.sources}, digest_key="uid")


def test_what_is_missing_is_named_and_optional_things_are_not_waited_for() -> None:
    of = recipe(Variable(name="P", source=SECRET), Variable(name="T", source=OPTIONAL), File(path="a", mode="0400", source=MAP))
    found = missing(of, {})
    assert found is not None
    assert found.reason == "SecretMissing"
    assert found.message == "waiting for ConfigMap conf, key app.ini; Secret db, key password in the namespace of this resource"
    found = missing(of, {SECRET: b"x"})
    assert found is not None
    assert found.reason == "ConfigMapMissing"
    assert missing(of, {SECRET: b"x", MAP: b""}) is None


def test_values_become_variables_beside_those_of_the_spec() -> None:
    found = rendered(recipe(Variable(name="P/~W", source=SECRET), Variable(name="T", source=OPTIONAL), env={"A": "1"}), db=b"s3cret")
    assert found.definition["env"] == {"A": "1", "P/~W": "s3cret"}
    assert found.secret_paths == ("/env/P~1~0W",)
    assert found.secrets == {"s3cret"}
    assert set(found.digests) == {"Secret/db/password"}
    assert "s3cret" not in repr(found)


def test_a_spec_without_variables_gets_none() -> None:
    assert "env" not in rendered(recipe()).definition
    assert rendered(recipe(env={})).definition["env"] == {}
    assert rendered(recipe()).definition["id"] == "/shop/web"


def test_values_of_config_maps_are_hidden_by_place_but_are_no_secrets() -> None:
    found = rendered(recipe(Variable(name="C", source=MAP)), conf=b"plain")
    assert found.secret_paths == ("/env/C",)
    assert found.secrets == frozenset()


@pytest.mark.parametrize(("value", "why"), [(b"\xff", "is not text; use spec.filesFrom"), (b"a\0b", "zero byte")])
def test_what_no_variable_can_hold_is_refused_with_its_field(value: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.envRefs\[P\].*" + why):
        rendered(recipe(Variable(name="P", source=SECRET)), db=value)


def test_a_binary_secret_travels_as_base64_and_is_known_as_that() -> None:
    found = rendered(recipe(File(path="key", mode="0400", source=SECRET)), db=b"\xff\xfe")
    assert found.secrets == {base64.b64encode(b"\xff\xfe").decode()}


@pytest.mark.parametrize("definition", [{"cmd": ""}, {"cmd": None}, {"cmd": None, "args": ["x"]}])
def test_files_need_a_command(definition: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"spec\.filesFrom needs spec\.cmd"):
        rendered(recipe(File(path="a", mode="0400", source=MAP), **definition), conf=b"x")


def test_without_their_content_optional_files_change_nothing() -> None:
    found = rendered(recipe(File(path="a", mode="0400", source=OPTIONAL)))
    assert found.definition == {"id": "/shop/web", "cmd": "./run"}


def test_patches_see_the_rendered_app() -> None:
    patch = {"op": "add", "path": "/labels", "value": {"x": "y"}}
    assert rendered(recipe(patches=(patch,))).definition["labels"] == {"x": "y"}
    with pytest.raises(Invalid):
        rendered(recipe(patches=({"op": "remove", "path": "/nothing"},)))


# ---------------------------------------------------------------------------------------------------- the shell does as promised


def run(definition: dict[str, Any], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `cmd` as Mesos' command executor does."""
    environment = {"PATH": os.environ["PATH"], **definition["env"]}
    return subprocess.run(
        ["/bin/sh", "-c", definition["cmd"]], cwd=directory, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


def test_files_are_there_with_content_and_mode_before_the_command_starts(tmp_path: Path) -> None:
    odd = File(path="etc/it's $HOME/app.ini", mode="0640", source=MAP)
    secret = File(path="key", mode="0400", source=SECRET)
    found = rendered(
        recipe(odd, secret, cmd='cat key; env | grep -c SHUREN || true; echo "$0"'), conf="数人云\n$x `y`\0".encode(), db=b"\xff\n"
    )
    done = run(found.definition, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/it's $HOME/app.ini").read_bytes() == "数人云\n$x `y`\0".encode()
    assert ((tmp_path / "etc/it's $HOME/app.ini").stat().st_mode & 0o777, (tmp_path / "key").stat().st_mode & 0o777) == (0o640, 0o400)
    assert "\n0\n" in done.stdout, "children do not inherit the contents"


def test_a_restart_in_the_same_directory_writes_them_anew(tmp_path: Path) -> None:
    of = recipe(File(path="key", mode="0400", source=SECRET), cmd="cat key")
    run(rendered(of, db=b"one").definition, tmp_path)
    assert run(rendered(of, db=b"two").definition, tmp_path).stdout == "two"


def test_when_a_file_cannot_be_written_the_command_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    done = run(rendered(recipe(File(path="etc/app.ini", mode="0400", source=MAP), cmd="echo started"), conf=b"x").definition, tmp_path)
    assert done.returncode != 0
    assert "started" not in done.stdout


def test_a_mode_that_is_none_becomes_the_narrowest(tmp_path: Path) -> None:
    run(rendered(recipe(File(path="a", mode="0777; rm -rf x", source=MAP)), conf=b"x").definition, tmp_path)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
