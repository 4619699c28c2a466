"""Resources out of files, folders, standard input and kustomize folders, as `kubectl apply -f` and `-k` take them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shuren.cli.exits import Failed
from shuren.ports.kubernetes import Object

_ENDINGS = {".yaml", ".yml", ".json"}


def read(files: Sequence[str], kustomize: Sequence[str], *, recursive: bool = False) -> list[Object]:
    """All objects, in order. Failed names the file, and the document in it, that is no resource. `recursive`: folders in folders too."""
    found: list[Object] = []
    for name in files:
        for path, text in _texts(name, recursive=recursive):
            found += _objects(text, path)
    for folder in kustomize:
        found += _objects(_kustomized(folder), folder)
    return found


def _texts(name: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(name)
    inside = path.rglob("*") if recursive else path.glob("*")
    chosen = sorted(p for p in inside if p.suffix in _ENDINGS and p.is_file()) if path.is_dir() else [path]
    if not chosen:
        deeper = "" if recursive else "; -R looks into folders in it too"
        raise Failed(f"{name}: there is no file that ends in .yaml, .yml or .json{deeper}")
    for one in chosen:
        try:
            yield str(one), one.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failed(f"{one} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _kustomized(folder: str) -> str:
    for program, arguments in (("kubectl", ("kustomize",)), ("kustomize", ("build",))):
        found = shutil.which(program)
        if found is None:
            continue
        ran = subprocess.run([found, *arguments, folder], capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise Failed(f"-k {folder}: {ran.stderr.strip()}")
        return ran.stdout
    raise Failed("-k needs kubectl or kustomize in PATH; install one of them, or build the folder and give it with -f -")


def _is_kustomization(document: Any) -> bool:
    """A file beside the resources that only says which they are."""
    return isinstance(document, dict) and str(document.get("apiVersion", "")).startswith("kustomize.config.k8s.io/")


def _objects(text: str, where: str) -> Iterable[Object]:
    import yaml  # noqa: PLC0415 - only who reads files waits for it

    try:
        documents: list[Any] = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise Failed(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    found: list[Object] = []
    for number, document in enumerate(documents, start=1):
        if document is None or _is_kustomization(document):
            continue
        items = document.get("items") if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") else [document]
        for item in items or []:
            name = item.get("metadata", {}).get("name") if isinstance(item, dict) and isinstance(item.get("metadata"), dict) else None
            if not (isinstance(item, dict) and item.get("apiVersion") and item.get("kind") and name):
                raise Failed(f"{where}, document {number}: no Kubernetes resource (it needs apiVersion, kind and metadata.name)")
            found.append(item)
    return found
