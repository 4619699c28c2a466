"""Resources out of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuren.cli.exits import Failed
from shuren.cli.files import read

APP = "apiVersion: paas.shurenyun.com/v1alpha1\nkind: PaasApp\nmetadata: {name: %s}\nspec: {}\n"


def test_folders_documents_and_lists_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(APP % "two" + "---\n---\n" + APP % "three")
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: List\nitems:\n- " + (APP % "one").replace("\n", "\n  "))
    (tmp_path / "README.md").write_text("no resource")
    assert [item["metadata"]["name"] for item in read([str(tmp_path)], [])] == ["one", "two", "three"]


def test_folders_in_folders_only_when_asked_for_as_kubectl_has_it(tmp_path: Path) -> None:
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "a.yaml").write_text(APP % "deep")
    with pytest.raises(Failed, match="-R looks into folders"):
        read([str(tmp_path)], [])
    (tmp_path / "b.yaml").write_text(APP % "flat")
    assert [item["metadata"]["name"] for item in read([str(tmp_path)], [])] == ["flat"]
    assert [item["metadata"]["name"] for item in read([str(tmp_path)], [], recursive=True)] == ["flat", "deep"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("just text", "document 1: no Kubernetes resource"),
        (APP % "web" + "---\nkind: PaasApp\n", "document 2: no Kubernetes resource"),
    ],
)
def test_what_is_no_resource_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(Failed, match=r"bad\.yaml") as raised:
        read([str(tmp_path / "bad.yaml")], [])
    assert words in str(raised.value)


def test_a_file_that_is_not_there_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="No such file"):
        read([str(tmp_path / "none.yaml")], [])
    with pytest.raises(Failed, match="no file that ends in"):
        read([str(tmp_path)], [])
