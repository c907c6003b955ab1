"""The service's own token: chosen, renewed, and ended."""

import base64
import json
import math
from pathlib import Path

import pytest
from pydantic import SecretStr

from ebbflow.core.errors import ConfigError
from ebbflow.services.hypha.store import Store
from ebbflow.services.hypha.tokens import TokenOver, Tokens, life_of

pytestmark = pytest.mark.anyio


def token(name: str, begins: float, ends: float) -> str:
    body = base64.urlsafe_b64encode(json.dumps({"sub": name, "iat": begins, "exp": ends}).encode()).decode()
    return f"x.{body.rstrip('=')}.x"


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "state")
    await made.open()
    return made


async def test_what_the_service_got_for_itself_is_used_until_the_operator_gives_another(store: Store) -> None:
    given, now = token("given", 0, 1000), 10.0
    tokens = Tokens(SecretStr(given), None, store=store, now=lambda: now)
    assert (await tokens.current()).get_secret_value() == given
    await tokens.keep(token("got", 10, 5000))
    assert life_of(await tokens.current()) == (10, 5000)
    now = 2000.0
    assert life_of(await tokens.current()) == (10, 5000), "also once the first has ended"
    other = Tokens(SecretStr(token("new", 0, 9000)), None, store=store, now=lambda: now)
    assert life_of(await other.current()) == (0, 9000)
    await store.aclose()


async def test_a_token_that_has_ended_is_named_with_where_it_is_looked_for(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token("old", 0, 100) + "\n")
    tokens = Tokens(None, file, store=store, now=lambda: 100.0)
    with pytest.raises(TokenOver, match=f"the token of {file} has ended: put a new one there"):
        await tokens.current()
    file.write_text(token("new", 0, 200))
    assert life_of(await tokens.current()) == (0, 200), "it is read again"
    for text in ("", "two words", "\udcff"):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ConfigError, match=str(file)):
            await tokens.current()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await tokens.current()
    with pytest.raises(ConfigError, match="EBBFLOW_HYPHA_TOKEN holds none"):
        await Tokens(None, None, store=store, now=lambda: 0.0).current()
    await store.aclose()


@pytest.mark.parametrize(
    ("text", "now", "seconds"),
    [
        (token("a", 0, 300), 0, 200),
        (token("a", 0, 300), 150, 50),
        (token("a", 0, 300), 250, 0),
        ("a-root-token", 250, math.inf),
        ("a.!!.c", 250, math.inf),
        ("a." + base64.b64encode(b"[1]").decode() + ".c", 250, math.inf),
    ],
)
def test_another_one_is_asked_for_after_two_thirds_of_its_life(
    text: str, now: float, seconds: float, tmp_path: Path
) -> None:
    tokens = Tokens(SecretStr(text), None, store=Store(tmp_path), now=lambda: now)
    assert tokens.renew_in_seconds(SecretStr(text)) == seconds
