"""What callers ask for: they may send anything, and are told what would be right."""

from pathlib import Path
from typing import Any

import pytest

from ebbflow.services.hypha import asked
from ebbflow.services.hypha.asked import BadInput
from tests.services.hypha.desks import settings


def deep(levels: int) -> Any:
    return {"env_vars": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "entrypoint is missing"),
        ({"entrypoint": 3}, "entrypoint is 3"),
        ({"entrypoint": "  "}, "a shell line such as 'python train.py' would be right"),
        ({"entrypoint": "a\0b"}, "a shell line"),
        ({"entrypoint": "x" * 20_001}, "has 20001 characters: at most 20000"),
        ({"entrypoint": "true", "runtime_env": []}, "runtime_env is a list: an object"),
        ({"entrypoint": {"a": 1}}, "entrypoint is an object: a shell line"),
        ({"entrypoint": "true", "runtime_env": {"conda": "x"}}, "runtime_env.'conda' is not allowed here: env_vars"),
        ({"entrypoint": "true", "runtime_env": {7: "x"}}, "runtime_env.7 is not allowed here"),
        ({"entrypoint": "true", "runtime_env": {"working_dir": "/etc"}}, "an address (https, s3, gs, gcs)"),
        ({"entrypoint": "true", "runtime_env": {"py_modules": ["file:///etc"]}}, "an address (https, s3, gs, gcs)"),
        ({"entrypoint": "true", "runtime_env": {"env_vars": {"A": 1}}}, "values are texts"),
        ({"entrypoint": "true", "runtime_env": {"env_vars": ["A"]}}, "values are texts"),
        ({"entrypoint": "true", "runtime_env": {"env_vars": {1: "x"}}}, "names are texts"),
        ({"entrypoint": "true", "runtime_env": deep(12)}, "nested more than 8 times"),
        ({"entrypoint": "true", "runtime_env": {"pip": [b"x"]}}, "holds a bytes"),
        ({"entrypoint": "true", "runtime_env": {"pip": [float("nan")]}}, "holds nan"),
        ({"entrypoint": "true", "runtime_env": {"env_vars": {"A": "x" * 64_001}}}, "at most 64000 are taken"),
        ({"entrypoint": "true", "key": ""}, "key is ''"),
        ({"entrypoint": "true", "key": "a\nb"}, "a word of yours"),
        ({"entrypoint": "true", "hours": 0}, "hours is 0: more than 0 and at most 24"),
        ({"entrypoint": "true", "hours": 25}, "at most 24"),
        ({"entrypoint": "true", "hours": float("inf")}, "at most 24"),
        ({"entrypoint": "true", "hours": float("nan")}, "hours is nan"),
        ({"entrypoint": "true", "hours": 10**400}, "at most 24"),
        ({"entrypoint": "true", "hours": "1"}, "hours is '1'"),
        ({"entrypoint": "true", "hours": True}, "hours is True"),
        ({"entrypoint": "true", "cpus": 3}, "submit takes entrypoint, runtime_env, key, hours, and not 'cpus'"),
    ],
)
def test_a_submission_that_is_none_is_refused_with_what_would_be_right(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    chosen = settings(tmp_path, runtime_env=["env_vars", "pip", "py_modules", "working_dir"])
    with pytest.raises(BadInput) as refused:
        asked.submission(given, chosen)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300, "what they sent is not quoted whole"


def test_a_submission_is_kept_as_it_was_given(tmp_path: Path) -> None:
    environment = {"env_vars": {"A": "1"}, "pip": ["numpy==2.4.6"]}
    given = {"entrypoint": " python a.py; echo $HOME ", "runtime_env": environment, "key": "tuesday", "hours": 2}
    found = asked.submission(given, settings(tmp_path, runtime_env=["env_vars", "pip"]))
    assert (found.entrypoint, found.key, found.most_seconds) == ("python a.py; echo $HOME", "tuesday", 7200)
    assert found.runtime_env == '{"env_vars": {"A": "1"}, "pip": ["numpy==2.4.6"]}'


@pytest.mark.parametrize("given", [{}, {"job_id": 3}, {"job_id": ""}, {"job_id": "x" * 101}])
def test_what_is_no_id_of_a_job_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="the one that submit answered would be right"):
        asked.job_id(given, "result")
