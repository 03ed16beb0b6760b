"""What goes on side by side until the first of it is done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

Result = TypeVar("Result")


async def first_of(*racing: Coroutine[Any, Any, object]) -> None:
    """Run all until one is done, and stop the others. Raises what that one raises."""
    tasks = [asyncio.ensure_future(each) for each in racing]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for each in done:
        each.result()


async def unless(work: Coroutine[Any, Any, Result], ends: Coroutine[Any, Any, object]) -> Result | None:
    """What `work` gives; None where `ends` is done before, and `work` is stopped. Raises what `work` raises."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ends)
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        ending.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


async def gone(receive: Receive) -> None:
    """Wait until who sent a request has left, once its body is received."""
    while (await receive())["type"] != "http.disconnect":
        pass
