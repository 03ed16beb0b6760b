"""What every answer says to a browser, whatever it answers."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: No page but those of the explorer, which say more, is made of what is sent here, and none is shown within another.
ALWAYS: Final = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_STARTS: Final = ("http.response.start", "websocket.http.response.start")


class SecurityHeaders:
    """A layer: adds to each answer what it does not say itself. `shared`: pages of other origins may have some."""

    def __init__(self, app: ASGIApp, *, shared: bool) -> None:
        self._app = app
        self._added = (*ALWAYS, (b"cross-origin-resource-policy", b"cross-origin" if shared else b"same-origin"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def said(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = message["headers"]
                names = {name for name, _ in headers}
                message["headers"] = [*headers, *(each for each in self._added if each[0] not in names)]
            await send(message)

        await self._app(scope, receive, said)
