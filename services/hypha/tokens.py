"""The service's own token of the Hypha server: it ends, and another one is there before."""

import base64
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

from anyio import to_thread
from pydantic import SecretStr

from ebbflow.core.errors import ConfigError
from ebbflow.services.hypha.settings import HYPHA_TOKEN, secret_of
from ebbflow.services.hypha.store import Store

TOKEN, MADE_FROM = "token", "token_made_from"
RENEWED_AT = 2 / 3
"""Of its life."""


class TokenOver(ConfigError):
    """There is no token that still holds; says where one is looked for."""


class Tokens:
    """The token that holds, and the ones after it.

    Args:
        given: of the environment.
        file: read anew each time; None: there is none.
        store: keeps what the service got for itself.
        now: seconds since 1970.
    """

    def __init__(self, given: SecretStr | None, file: Path | None, *, store: Store, now: Callable[[], float]) -> None:
        self._given, self._file, self._store, self._now = given, file, store, now

    async def current(self) -> SecretStr:
        """The one to connect with: what the service got by the operator's token, or that one.

        Raises:
            ConfigError: there is none, or it is none.
            TokenOver: it has ended.
        """
        own = await self._operators()
        kept, made_from = await self._store.kept(TOKEN), await self._store.kept(MADE_FROM)
        # An operator who puts another one in its place means that one.
        if kept is not None and made_from == _digest(own) and self._holds(SecretStr(kept)):
            return SecretStr(kept)
        if not self._holds(own):
            raise TokenOver(f"the token of {self._place} has ended: put a new one there")
        return own

    async def keep(self, made: str) -> None:
        """Keep one that was got by the operator's."""
        # In this order: killed in between, what is kept counts as of a token of before, and is not used.
        await self._store.keep(MADE_FROM, "")
        await self._store.keep(TOKEN, made)
        await self._store.keep(MADE_FROM, _digest(await self._operators()))

    def renew_in_seconds(self, token: SecretStr) -> float:
        """How long it may be used before another one is asked for; infinite where it does not say when it ends."""
        begins, ends = life_of(token)
        if not math.isfinite(ends):
            return math.inf
        return max(0.0, begins + RENEWED_AT * (ends - begins) - self._now())

    def _holds(self, token: SecretStr) -> bool:
        return life_of(token)[1] > self._now()

    @property
    def _place(self) -> str:
        return HYPHA_TOKEN if self._file is None else str(self._file)

    async def _operators(self) -> SecretStr:
        found = self._given
        if self._file is not None:
            try:
                text = await to_thread.run_sync(self._file.read_text)
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"token_file {self._file} cannot be read: {error}") from error
            found = secret_of({str(self._file): text}, str(self._file))
        if found is None:
            raise ConfigError(f"no token of the Hypha server: {self._place} holds none")
        return found


def life_of(token: SecretStr) -> tuple[float, float]:
    """When it was made and when it ends, as it says itself; that it is none the server says."""
    try:
        body = token.get_secret_value().split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        begins, ends = float(said["iat"]), float(said["exp"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return 0.0, math.inf
    return (begins, ends) if math.isfinite(begins) and math.isfinite(ends) else (0.0, math.inf)


def _digest(token: SecretStr) -> str:
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()
