"""What goes on side by side until the first of it is done."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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
