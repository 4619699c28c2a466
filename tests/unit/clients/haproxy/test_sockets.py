"""What becomes of trouble on a socket, and of certificates; the rest is in tests/contract/haproxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.clients.haproxy.wire import exchange
from shuren.domain.errors import Conflict, Invalid, UnknownOutcome, Unreachable


@asynccontextmanager
async def _answering(path: Path, answer: Callable[[str], str | None]) -> AsyncIterator[list[str]]:
    """Somebody who answers each line; None: never."""
    heard: list[str] = []
    never = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.read()).decode())
        said = answer(heard[-1])
        if said is None:
            await never.wait()
        else:
            writer.write(said.encode())
        writer.close()

    server = await asyncio.start_unix_server(serve, path=str(path))
    try:
        yield heard
    finally:
        server.close()
        never.set()
        await asyncio.sleep(0)


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does not listen"):
        await exchange(tmp_path / "none.sock", "show info", timeout=1, writes=True)


async def test_no_answer_to_a_question_and_to_a_command(tmp_path: Path) -> None:
    async with _answering(tmp_path / "s", lambda _: None):
        with pytest.raises(Unreachable, match="does not answer"):
            await exchange(tmp_path / "s", "show info", timeout=0.05)
        with pytest.raises(UnknownOutcome):
            await RuntimeApi(tmp_path / "s", timeout=0.05).execute(["set server a/b state ready"])


async def test_commands_travel_many_to_a_line(tmp_path: Path) -> None:
    async with _answering(tmp_path / "s", lambda _: "\n") as heard:
        await RuntimeApi(tmp_path / "s").execute([f"set server b/s{n} state ready" for n in range(450)])
    assert len(heard) == 1
    first, severity, *lines, last = heard[0].splitlines()
    assert (first, severity, last) == ("prompt", "set severity-output number", "quit")
    assert len(lines) == 3
    assert [command for line in lines for command in line.split("; ")] == [f"set server b/s{n} state ready" for n in range(450)]


PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n\n-----BEGIN PRIVATE KEY-----\nBB==\n-----END PRIVATE KEY-----\n"


async def test_a_certificate_is_set_and_committed(tmp_path: Path) -> None:
    def answer(line: str) -> str:
        return "Transaction created for certificate x!\n\n" if line.startswith("set ssl") else "Committing x.\nSuccess!\n\n"

    async with _answering(tmp_path / "s", answer) as heard:
        await RuntimeApi(tmp_path / "s").set_certificate("/certs/x.pem", PEM)
    assert heard == ["set ssl cert /certs/x.pem <<\n" + PEM.replace("\n\n", "\n") + "\n", "commit ssl cert /certs/x.pem\n"]


async def test_a_certificate_that_does_not_match_is_taken_back(tmp_path: Path) -> None:
    def answer(line: str) -> str:
        return "Transaction created!\n\n" if line.startswith("set ssl") else "inconsistencies between private key and certificate\n\n"

    async with _answering(tmp_path / "s", answer) as heard:
        with pytest.raises(Invalid, match="inconsistencies"):
            await RuntimeApi(tmp_path / "s").set_authority("/certs/x.pem", PEM)
    assert heard[-1] == "abort ssl ca-file /certs/x.pem\n"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Can't replace a certificate which is not referenced by the configuration!\n\n", Conflict),
        ("unable to load certificate from PEM payload\n\n", Invalid),
    ],
)
async def test_a_certificate_that_is_not_taken(tmp_path: Path, said: str, error: type[Exception]) -> None:
    async with _answering(tmp_path / "s", lambda _: said):
        with pytest.raises(error):
            await RuntimeApi(tmp_path / "s").set_certificate("/certs/x.pem", PEM)


async def test_a_certificate_too_long_for_the_runtime_api_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="more than HAProxy takes"):
        await RuntimeApi(tmp_path / "none").set_certificate("/certs/x.pem", "A" * 20_000)


async def test_a_master_that_is_starting_itself_anew_gets_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "m"
    asking = asyncio.create_task(Master(path).processes())
    await asyncio.sleep(0)
    async with _answering(path, lambda _: "1 master 0 [failed: 0] 0d00h00m01s 2.6.12\n# workers\n2 worker 0 0d00h00m01s 2.6.12\n\n"):
        assert (await asking).workers == (2,)


async def test_a_master_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await Master(tmp_path / "m", patience=0.05).processes()


async def test_a_reload_that_never_ends_is_told(tmp_path: Path) -> None:
    same = "1 master 0 [failed: 0] 0d00h00m01s 2.6.12\n# workers\n2 worker 0 0d00h00m01s 2.6.12\n\n"
    async with _answering(tmp_path / "m", lambda _: same):
        with pytest.raises(Unreachable, match="did not finish a reload"):
            await Master(tmp_path / "m").reload(within=0.1)
