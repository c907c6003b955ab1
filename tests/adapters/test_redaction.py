"""What must never be shown is taken out of texts, rows, logs and chains of errors, and the rest is still to be read."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from pydantic import BaseModel, Secret, SecretBytes, SecretStr, ValidationError

from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.adapters.providers.redacted import RedactedProvider
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import LaunchRejected, ProviderUnavailable
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps

LOG = "parallelism is false, 4096 tokens, cache in /data/keys, key sk-4f9a0c17d2, pass correct horse 7"
CANARY = "c4nary-4711"


class Plain(BaseModel):
    """Settings with an environment."""

    environment: dict[str, str] = {}


@pytest.mark.parametrize(
    ("name", "value", "is_shown"),
    [
        ("TOKENIZERS_PARALLELISM", "false", True),
        ("MAX_TOKENS", "4096", True),
        ("KEY_FOLDER", "/data/keys", True),
        ("AUTH", "", True),
        ("AUTH", " ", True),
        ("API_KEY", "sk-4f9a0c17d2", False),
        ("API_KEY", "sk-4f9a0c17d2\n", False),
        ("DB_PASS", "correct horse 7", False),
        ("COLOUR", "sk-4f9a0c17d2", True),
    ],
)
def test_regression_values_that_are_words_digits_or_booleans_destroyed_logs(
    name: str, value: str, is_shown: bool
) -> None:
    shown = Redaction(Plain(environment={name: value}))(LOG)
    assert (shown == LOG) is is_shown
    if not is_shown:
        assert value.strip() not in shown
        assert shown.count("***") == 1


@pytest.mark.parametrize("value", ["a" * 16, "1" * 16, "Zm9v", "hush-4711", "p4ss"])
def test_what_can_be_a_secret_is_taken_out(value: str) -> None:
    assert Redaction(Plain(environment={"A_TOKEN": value}))(f"<{value}>") == "<***>"


def test_what_is_said_to_be_secret_is_taken_out_whatever_it_looks_like() -> None:
    class Nested(BaseModel):
        """A part with secrets."""

        words: list[SecretStr] = [SecretStr("ordinary")]
        whole: Secret[dict[str, list[str]]] = Secret({"a": ["within"]})

    class Settings(BaseModel):
        """Every shape of a secret."""

        one: SecretStr = SecretStr("alone")
        raw: SecretBytes = SecretBytes(b"bytes")
        by_name: dict[str, SecretStr] = {"a": SecretStr("mapped")}
        nested: Nested = Nested()
        short: SecretStr = SecretStr("abc")

    said = Redaction(Settings())("alone bytes mapped ordinary within abc alones")
    assert said == "*** *** *** *** *** abc ***s", "three characters stand in too many words"


def test_the_longest_secret_goes_first() -> None:
    environment = {"A_KEY": "hush-47", "B_KEY": "hush-4711"}
    assert Redaction(Plain(environment=environment))("hush-4711, hush-47") == "***, ***"


def test_a_pods_variable_that_is_named_like_a_secret_is_one() -> None:
    variables = [{"name": "HF_TOKEN", "value": CANARY}, {"name": "COLOUR", "value": "blue-green-7"}]
    pod = {"spec": {"containers": [{"name": "worker", "image": "i", "env": variables}]}}
    redact = Redaction(KubernetesSettings(pod_template=pod, namespace="gpu"))
    assert redact(f"{CANARY} blue-green-7") == "*** blue-green-7"


def test_a_kubeconfigs_login_is_secret_in_every_form_and_its_server_is_not() -> None:
    user = {
        "token": CANARY,
        "client-key-data": "LS0tLS1CRUdJTiBLRVktLS0tLQ==",
        "exec": {
            "command": "aws",
            "args": ["--key", "arg-hush-1"],
            "env": [{"name": "X", "value": "env-hush-1"}, {"name": "Y", "value": "running"}],
        },
    }
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "gpu"}}],
        "users": [{"name": "u", "user": user}],
    }
    pod = {"spec": {"containers": [{"name": "worker", "image": "i"}]}}
    redact = Redaction(KubernetesSettings.model_validate({"pod_template": pod, "kubeconfig": config}))
    said = f"{CANARY} LS0tLS1CRUdJTiBLRVktLS0tLQ== -----BEGIN KEY----- env-hush-1"
    assert redact(said) == "*** *** *** ***"
    for plain in ("aws: user u at https://10.0.0.1:6443", "pod worker is running in region default, arg-hush-1"):
        assert redact(plain) == plain, "words of a login command are everybody's"


def test_an_image_logins_token_is_secret_and_its_host_is_not() -> None:
    for login in (f"-u carol -p {CANARY} registry.example", f"-u carol --password={CANARY} registry.example"):
        settings = VastSettings.model_validate(
            {"api_key": "k3y-of-vast", "image": "i", "gpu_names": ["RTX 4090"], "image_login": login}
        )
        redact = Redaction(settings)
        assert redact(f"registry.example refused {CANARY} of carol") == "registry.example refused *** of carol"
        assert redact(f"docker login {login}") == "docker login ***"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ('a"b\\c-47114711', r'{"said": "a\"b\\c-47114711"}'),
        ("a b/c+d-47114711", "GET /?key=a%20b%2Fc%2Bd-47114711"),
        ("a<b>&c-47114711", "<p>a&lt;b&gt;&amp;c-47114711</p>"),
        ("hush-47114711", "aHVzaC00NzExNDcxMQ=="),
        ("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----", "line 2 is MIIEvQIBADANBg"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0", "last line: token was eyJhbGciOiJIUzI1NiJ9.eyJzd"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0", "iOiIxMjM0NTY3ODkwIn0 was the token"),
    ],
    ids=["as JSON", "as a query", "as HTML", "as base64", "a line of several", "cut behind", "cut before"],
)
def test_regression_a_secret_was_shown_in_another_form_or_in_part(secret: str, said: str) -> None:
    redact = Redaction(Plain(environment={"API_KEY": secret}))
    assert "***" in redact(said)
    assert not any(secret[start : start + 12] in redact(said) for start in range(len(secret) - 12))


def test_an_errors_notes_and_the_members_of_a_group_are_part_of_its_chain() -> None:
    redact = Redaction(Plain(environment={"API_KEY": CANARY}))
    noted = LaunchRejected("refused")
    noted.add_note(f"with {CANARY}")
    assert CANARY not in str(redact.cleaned(noted).__notes__)
    for error in (ExceptionGroup("several", [ValueError(CANARY)]), KeyError(CANARY), OSError(5, CANARY)):
        assert CANARY not in chain(redact.cleaned(error))


def test_a_variable_is_given_once() -> None:
    given = {"command": ["w"], "state_folder": "/x", "environment": {"A": "1"}, "secret_environment": {"A": CANARY}}
    with pytest.raises(ValidationError, match="variable 'A' is in environment too") as caught:
        LocalSettings.model_validate(given)
    assert CANARY not in str(caught.value)


REQUEST = LaunchRequest("sdxl-0abc-1-0", "sdxl", "h0me1")
ROW = Instance("sdxl-0abc-1-0", "i-1", InstanceState.FAILED, "sdxl", "h0me1")


class Quoting:
    """A provider that quotes its key in all that it says."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    @property
    def caps(self) -> ProviderCaps:
        """Nothing special."""
        return ProviderCaps("quoting")

    async def launch(self, request: LaunchRequest) -> Instance:
        """Raises what was given."""
        if self._error is not None:
            try:
                raise KeyError(f"header Bearer {CANARY}")
            except KeyError as cause:
                raise self._error from cause
        return Instance(request.worker_id, "i", InstanceState.PENDING, "sdxl", "h0me1", detail=f"key {CANARY}")

    async def list_instances(self, fleet: str) -> InstanceList:
        """A row that failed."""
        row = Instance("sdxl-0abc-1-0", "i", InstanceState.FAILED, fleet, "h0me1", detail=CANARY, ends_soon=CANARY)
        return InstanceList((row,), complete=False, detail=f"401 for {CANARY}")

    async def terminate(self, instance: Instance) -> None:
        """Refused."""
        raise ProviderUnavailable(f"503 for {CANARY}")

    stop = terminate

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """Its environment."""
        return {"log": f"KEY={CANARY}\n"}

    async def aclose(self) -> None:
        """Fails."""
        raise OSError(f"close {CANARY}")


def redacted(error: Exception | None = None) -> RedactedProvider:
    """The same, behind what takes its key out."""
    return RedactedProvider(Quoting(error), Redaction(Plain(environment={"API_KEY": CANARY})))


def chain(error: BaseException | None) -> str:
    """All that a log shows of it."""
    return "" if error is None else f"{error} {error!r}; {chain(error.__cause__ or error.__context__)}"


@pytest.mark.anyio
async def test_rows_logs_and_details_of_a_provider_hold_no_secret() -> None:
    provider = redacted()
    said = [await provider.launch(REQUEST), await provider.list_instances("sdxl"), await provider.logs(ROW)]
    assert CANARY not in str(said)
    assert str(said).count("***") == 5
    assert provider.caps == ProviderCaps("quoting")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"http://w:7801?token={CANARY}", "http://w:7801?token=***"),
        (f"http://ada:{CANARY}@w:7801", "http://ada:***@w:7801"),
        # What workers are asked at cannot be changed.
        (f"http://w:7801/{CANARY}", f"http://w:7801/{CANARY}"),
        ("http://w:7801", "http://w:7801"),
        (None, None),
    ],
)
async def test_regression_an_address_that_nobody_asks_told_the_secret_in_it(url: str | None, shown: str | None) -> None:
    class Listing(Quoting):
        """Lists one that serves."""

        async def list_instances(self, fleet: str) -> InstanceList:
            """It alone."""
            return InstanceList((replace(ROW, url=url),))

    redact = Redaction(Plain(environment={"API_KEY": CANARY}))
    (row,) = (await RedactedProvider(Listing(), redact).list_instances("sdxl")).instances
    assert row.url == shown


@pytest.mark.anyio
@pytest.mark.parametrize(
    "error",
    [LaunchRejected(f"refused {CANARY}"), LaunchRejected("refused"), ValueError(f"not {CANARY}"), ValueError("not it")],
    ids=["ours", "ours, by its cause", "a mistake", "a mistake, by its cause"],
)
async def test_no_link_of_a_chain_of_errors_holds_a_secret(error: Exception) -> None:
    with pytest.raises((LaunchRejected, RuntimeError)) as caught:
        await redacted(error).launch(REQUEST)
    assert CANARY not in chain(caught.value if caught.value.__suppress_context__ is False else None)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, LaunchRejected) is isinstance(error, LaunchRejected), "the turn knows it still"


@pytest.mark.anyio
async def test_other_calls_fail_without_it_too() -> None:
    with pytest.raises(ProviderUnavailable, match=r"503 for \*\*\*") as caught:
        await redacted().terminate(ROW)
    assert caught.value.is_temporary
    with pytest.raises(ProviderUnavailable, match=r"\*\*\*"):
        await redacted().stop(ROW)
    with pytest.raises(RuntimeError, match=r"OSError: close \*\*\*"):
        await redacted().aclose()


@pytest.mark.anyio
async def test_an_error_without_a_secret_stays_as_it_is() -> None:
    inner = LaunchRejected("no such image")
    inner.add_note("as it was")

    class Refusing(Quoting):
        """Refuses without a quotation."""

        async def launch(self, request: LaunchRequest) -> Instance:
            """Refused."""
            raise inner

    with pytest.raises(LaunchRejected) as caught:
        await RedactedProvider(Refusing(), Redaction(Plain(environment={"API_KEY": CANARY}))).launch(REQUEST)
    assert caught.value is inner
