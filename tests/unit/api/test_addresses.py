"""A token goes only where it was meant to go: what counts as an address of one's own, and as one origin."""

from __future__ import annotations

import socket

import pytest

from prorl_api.process.addresses import AddressError, Origin, base_url_origin, own_address


@pytest.mark.parametrize(
    ("url", "caller", "called"),
    [
        ("http://10.0.0.5:8000", "10.0.0.5", "http://10.0.0.5:8000"),
        ("http://10.0.0.5:8000/", "10.0.0.5", "http://10.0.0.5:8000"),
        ("http://10.0.0.5:8000", "::ffff:10.0.0.5", "http://10.0.0.5:8000"),
        ("http://[::ffff:10.0.0.5]:8000", "10.0.0.5", "http://10.0.0.5:8000"),
        ("http://[fd00::5]:8000", "fd00::5", "http://[fd00::5]:8000"),
        ("http://[FD00:0:0::5]:8000", "fd00::5", "http://[fd00::5]:8000"),
        ("http://127.0.0.1:4711", "127.0.0.1", "http://127.0.0.1:4711"),
        ("http://[::1]:4711", "::1", "http://[::1]:4711"),
        ("http://10.0.0.5", "10.0.0.5", "http://10.0.0.5:80"),
        ("http://240.0.0.9:8000", "240.0.0.9", "http://240.0.0.9:8000"),  # some clouds give such to pods
        ("http://localhost:4711", "127.0.0.1", "http://127.0.0.1:4711"),
    ],
)
async def test_an_address_that_the_caller_comes_from_is_its_own(url: str, caller: str, called: str) -> None:
    assert await own_address(url, caller) == called


@pytest.mark.parametrize(
    ("url", "caller"),
    [
        ("http://10.0.0.6:8000", "10.0.0.5"),
        ("http://localhost:8000", "10.0.0.5"),
        ("http://127.0.0.1:8000", "10.0.0.5"),
        ("http://10.0.0.5:8000", None),
        ("http://10.0.0.5:8000", "nobody"),
        ("http://no-such-host.invalid:8000", "10.0.0.5"),
        ("http://user:password@10.0.0.5:8000", "10.0.0.5"),
        ("http://10.0.0.6@10.0.0.5:8000", "10.0.0.5"),
        ("http://10.0.0.5:8000@10.0.0.6", "10.0.0.5"),
        ("http://10.0.0.5:8000#@10.0.0.6", "10.0.0.5"),
        ("http://10.0.0.6#@10.0.0.5:8000", "10.0.0.5"),
        ("http://10.0.0.6\\@10.0.0.5:8000", "10.0.0.5"),
        ("http://10.0.0.5:8000/path", "10.0.0.5"),
        ("http://10.0.0.5:8000?query", "10.0.0.5"),
        ("http://10.0.0.5:8000?", "10.0.0.5"),
        ("http://10.0.0.5:8000#", "10.0.0.5"),
        ("http://169.254.169.254:80", "169.254.169.254"),
        ("http://[fe80::1]:8000", "fe80::1"),
        ("http://[fe80::1%25eth0]:8000", "fe80::1"),
        ("http://0.0.0.0:8000", "0.0.0.0"),
        ("http://[::]:8000", "::"),
        ("http://224.0.0.1:8000", "224.0.0.1"),
        ("http://0x0a000005:8000", "10.0.0.6"),
        ("http://167772165:8000", "10.0.0.6"),
        ("http://10.0.0.5:0", "10.0.0.5"),
        ("http://10.0.0.5:99999", "10.0.0.5"),
        ("http://10.0.0.5:8000 ", "10.0.0.5"),
        ("http://10.0.0.5:8000\r\nX: y", "10.0.0.5"),
        ("http://10.0.0.５:8000", "10.0.0.5"),
        ("ftp://10.0.0.5:8000", "10.0.0.5"),
        ("file:///etc/passwd", "10.0.0.5"),
        ("//10.0.0.5:8000", "10.0.0.5"),
        ("10.0.0.5:8000", "10.0.0.5"),
        ("http://", "10.0.0.5"),
        ("", "10.0.0.5"),
        ("http://" + "a" * 5000, "10.0.0.5"),
    ],
)
async def test_any_other_address_is_refused(url: str, caller: str | None) -> None:
    with pytest.raises(AddressError) as caught:
        await own_address(url, caller)
    assert len(str(caught.value)) < 1000


async def test_a_name_is_called_by_the_address_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of the call the name may resolve to somebody else."""

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "server-1.team-a"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("10.0.0.4", "10.0.0.5")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert await own_address("http://Server-1.team-a:8000", "10.0.0.5") == "http://10.0.0.5:8000"
    with pytest.raises(AddressError, match="its own address"):
        await own_address("http://server-1.team-a:8000", "10.0.0.6")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://learner:8000", "http://LEARNER:8000/v1/weights/x/manifest"),
        ("http://learner", "http://learner:80/a?b"),
        ("https://learner", "https://learner:443"),
        ("http://[::1]:1", "http://[0:0:0:0:0:0:0:1]:1/x"),
    ],
)
def test_one_origin_is_written_in_several_ways(one: str, other: str) -> None:
    assert base_url_origin(one) == Origin.of(other)


@pytest.mark.parametrize(
    "url",
    [
        "https://learner:8000/x",
        "http://learner:8001/x",
        "http://learner.evil.example:8000/x",
        "http://learner-2:8000/x",
        "http://evil.example/http://learner:8000",
        "http://evil.example:8000/?learner:8000",
    ],
)
def test_what_only_looks_like_it_is_another_origin(url: str) -> None:
    assert Origin.of(url) != base_url_origin("http://learner:8000")
