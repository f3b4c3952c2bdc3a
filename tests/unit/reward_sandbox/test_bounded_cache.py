"""A value is made once, kept within bounds, and made for whoever still waits."""

from __future__ import annotations

import asyncio

import pytest

from prorl_reward_sandbox.execution.compiling.bounded_cache import BoundedCache, Made, digest_of


class Maker:
    """Makes values when told to."""

    def __init__(self, *, num_bytes: int = 1, is_lasting: bool = True) -> None:
        self.gate = asyncio.Event()
        self.begun = 0
        self.ended = 0
        self._num_bytes = num_bytes
        self._is_lasting = is_lasting

    async def make(self) -> Made[int]:
        self.begun += 1
        try:
            await self.gate.wait()
        finally:
            self.ended += 1
        return Made(value=self.begun, num_bytes=self._num_bytes, is_lasting=self._is_lasting)


async def test_many_who_ask_at_once_get_one_value() -> None:
    cache, maker = BoundedCache[int](10), Maker()
    asking = [asyncio.create_task(cache.get("a", maker.make)) for _ in range(5)]
    await asyncio.sleep(0)
    maker.gate.set()
    assert sorted(await asyncio.gather(*asking)) == [(1, False), *[(1, True)] * 4]
    assert await cache.get("a", maker.make) == (1, True)


async def test_making_goes_on_for_others_when_one_leaves() -> None:
    cache, maker = BoundedCache[int](10), Maker()
    first, second = [asyncio.create_task(cache.get("a", maker.make)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    maker.gate.set()
    assert await second == (1, True)


async def test_making_ends_when_all_have_left() -> None:
    cache, maker = BoundedCache[int](10), Maker()
    asking = [asyncio.create_task(cache.get("a", maker.make)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert (maker.begun, maker.ended) == (1, 1)


async def test_the_oldest_are_dropped_beyond_the_bound() -> None:
    cache = BoundedCache[int](10)
    maker = Maker(num_bytes=4)
    maker.gate.set()
    for digest in ("a", "b", "a", "c"):
        await cache.get(digest, maker.make)
    assert cache.num_bytes == 8
    assert [(await cache.get(digest, maker.make))[1] for digest in ("a", "c", "b")] == [True, True, False]


@pytest.mark.parametrize("maker", [{"is_lasting": False}, {"num_bytes": 11}])
async def test_what_is_not_lasting_or_too_large_is_not_kept(maker: dict[str, int]) -> None:
    cache, making = BoundedCache[int](10), Maker(**maker)  # type: ignore[arg-type]
    making.gate.set()
    assert [await cache.get("a", making.make) for _ in range(2)] == [(1, False), (2, False)]
    assert cache.num_bytes == 0


async def test_a_failure_is_told_to_all_and_forgotten() -> None:
    cache, maker = BoundedCache[int](10), Maker()

    async def fail() -> Made[int]:
        raise OSError("no")

    found = await asyncio.gather(*(cache.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in found] == ["no"] * 3
    maker.gate.set()
    assert await cache.get("a", maker.make) == (1, False)


def test_digests_tell_every_part_apart() -> None:
    assert digest_of("a", {"x": 1, "y": 2}) == digest_of("a", {"y": 2, "x": 1})
    assert len({digest_of("ab"), digest_of("a", "b"), digest_of(["a", "b"]), digest_of("a\ud800"), digest_of(1)}) == 5
