"""Plain requests to an API server, with what kubectl hides: status, causes and warnings of a refusal."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

GROUP = "/apis/paas.shurenyun.com/v1alpha1"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def causes(self) -> tuple[tuple[str, str], ...]:
        """Field and message of each cause of a refusal."""
        details = self.body.get("details") or {}
        return tuple((cause.get("field", ""), cause.get("message", "")) for cause in details.get("causes") or ())


class Rest:
    """One API server, as one user."""

    def __init__(self, kubeconfig: Path | str) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        headers = {"Accept": "application/json"}
        if "token" in user:
            headers["Authorization"] = f"Bearer {user['token']}"
        else:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
                pair.flush()
                trust.load_cert_chain(pair.name)
        self._http = httpx.Client(base_url=cluster["server"], verify=trust, headers=headers, timeout=30, trust_env=False)

    def call(self, verb: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: str) -> Answer:
        """Send it; a refusal is an answer too."""
        content = None if body is None else json.dumps(body)
        response = self._http.request(verb, path, content=content, params=query, headers={"Content-Type": content_type})
        return Answer(status=response.status_code, body=response.json(), warnings=_warnings(response.headers.get_list("Warning")))

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = True, strict: bool = True) -> Answer:
        """POST one of our resources, by default without keeping it and with unknown fields refused, as kubectl does."""
        namespace = obj["metadata"].get("namespace")
        plural = f"{obj['kind'].lower()}s"
        path = f"{GROUP}/namespaces/{namespace}/{plural}" if namespace else f"{GROUP}/{plural}"
        query = {"fieldValidation": "Strict" if strict else "Ignore", **({"dryRun": "All"} if dry_run else {})}
        return self.call("POST", path, dict(obj), **query)

    def watch(self, path: str, *, since: str) -> Iterator[dict[str, Any]]:
        """Events of a watch after that resourceVersion, until nobody asks for more."""
        with self._http.stream("GET", path, params={"watch": "true", "resourceVersion": since}, timeout=None) as response:
            for line in response.iter_lines():
                yield json.loads(line)

    def close(self) -> None:
        self._http.close()


def _warnings(headers: list[str]) -> tuple[str, ...]:
    """Give the text of each header `299 - "text"`."""
    return tuple(header.removeprefix('299 - "').removesuffix('"').replace('\\"', '"') for header in headers)
