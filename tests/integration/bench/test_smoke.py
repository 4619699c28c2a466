"""Benches run with a handful of apps, so that they cannot rot: their fake API server must know what the operator asks for."""

from __future__ import annotations

from pathlib import Path

from bench import estate
from bench.report import document, table

_APPS = 12


async def test_an_estate_converges_starts_cold_and_is_watched(tmp_path: Path) -> None:
    rows = await estate.run(tmp_path, wanted=("convergence", "latency"), apps=_APPS, repeats=1)
    assert {row.bench for row in rows} == {"convergence", "latency"}
    assert all(row.measured > 0 for row in rows)
    text = table(rows, scale=_APPS)
    assert "targets are not judged" in text
    assert all(row["verdict"] == "" for row in document(rows, scale=_APPS)["rows"])
