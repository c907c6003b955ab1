"""`hypha.yaml`: what it may say, and what a mistake in it is called."""

from pathlib import Path

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.services.hypha.settings import prefect_authorization, read_settings, secret_of

LEAST = "hypha: https://hypha.example\nray: http://login1:8265\nallow: [email:ada@example.org]\n"


def test_paths_are_meant_from_where_the_file_lies(tmp_path: Path) -> None:
    file = tmp_path / "hypha.yaml"
    file.write_text(LEAST + "state_folder: kept\ntoken_file: secrets/token\n")
    found = read_settings(file)
    assert (found.state_folder, found.token_file) == (tmp_path / "kept", tmp_path / "secrets/token")
    assert (found.driver_cpus, found.runtime_env, found.limits.most_running) == (1, ("env_vars",), 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            LEAST.replace("email:ada@example.org", "email:ada@example.org, ada"),
            "allow.1: expected user:ID, email:ADDRESS or workspace:NAME, not 'ada'",
        ),
        (LEAST.replace("email:", ""), "or workspace:NAME, not 'ada@example.org'"),
        (LEAST.replace("email:", "mail:"), "or workspace:NAME, not 'mail:ada@example.org'"),
        (
            LEAST.replace("email:ada@example.org", "secret-4Uq9"),
            "allow.0: expected user:ID, email:ADDRESS or workspace",
        ),
        (LEAST.replace("[email:ada@example.org]", "[]"), "allow: nobody may submit anything"),
        (LEAST + "runtime_env: [shell]\n", "runtime_env.0: expected one of config, conda"),
        (LEAST + "limits: {most_running: 0}\n", "limits.most_running: Input should be greater than"),
        (LEAST + "limits: {most: 1}\n", "limits.most: Extra inputs are not permitted"),
        (LEAST + "token: secret\n", "token: Extra inputs are not permitted"),
        (LEAST.replace("http://login1:8265", "login1:8265"), "ray: expected an address"),
        (LEAST + "driver_cpus: .nan\n", "driver_cpus"),
        (LEAST + "fleet: sdxl\n", "prefect: fleet and prefect go together"),
        (LEAST + "prefect: http://p:4200/api\n", "fleet: fleet and prefect go together"),
        ("[", "cannot be read as YAML, from line 1 on"),
        (LEAST + "limits: [\n", "cannot be read as YAML, from line 5 on"),
        ("- a\n", "Settings"),
        ("", "hypha: Field required"),
    ],
)
def test_a_mistake_is_told_with_its_field(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "hypha.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(file)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*: docs/hypha\.md has one"):
        read_settings(tmp_path / "hypha.yaml")


def test_a_secret_of_the_environment_is_one_word() -> None:
    assert secret_of({}, "T") is None
    assert secret_of({"T": " \n"}, "T") is None
    assert (found := secret_of({"T": "a.b\n"}, "T")) is not None
    assert found.get_secret_value() == "a.b"
    with pytest.raises(ConfigError, match="T: a token is one word"):
        secret_of({"T": "a b"}, "T")


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, None),
        ({"PREFECT_API_KEY": "pnu_x"}, "Bearer pnu_x"),
        ({"PREFECT_API_AUTH_STRING": "ada:sesame"}, "Basic YWRhOnNlc2FtZQ=="),
    ],
)
def test_a_prefect_server_is_shown_what_prefect_itself_would_show(
    environment: dict[str, str], shown: str | None
) -> None:
    found = prefect_authorization(environment)
    assert (found and found.get_secret_value()) == shown
