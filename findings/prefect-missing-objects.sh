#!/usr/bin/env bash
# Prefect 3.8.8, its own Python client against its own server.
#
# Common guess: whatever names an object that is not there (any more) raises `prefect.exceptions.ObjectNotFound`, so one
# `except ObjectNotFound` covers a run whose object somebody deleted meanwhile.
#
# Seen: it depends on the method. `delete_artifact` and `delete_variable_by_name` raise `ObjectNotFound`,
# `read_variable_by_name` answers None, and `update_artifact` lets the server's answer through as
# `PrefectHTTPStatusError` with status 404, which is no `ObjectNotFound`.
#
# Ours: a note on a record that somebody deleted failed the run; `flows/ledger.py` looks at the status now, and
# `contracts/ledger.py` has the law (`test_a_note_on_a_record_that_is_gone_is_lost_with_it`).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "prefect==3.8.8" "fastapi==0.150.0" "sqlalchemy==2.0.58"

cat > "$folder/ask.py" <<'PYTHON'
import asyncio
from uuid import uuid4

import prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

EXPECTED = {
    "delete_artifact": "ObjectNotFound",
    "update_artifact": "PrefectHTTPStatusError 404",
    "delete_variable_by_name": "ObjectNotFound",
    "read_variable_by_name": "answers None",
}


async def said(call):
    try:
        return f"answers {await call}"
    except PrefectHTTPStatusError as error:
        return f"{type(error).__name__} {error.response.status_code}"
    except ObjectNotFound as error:
        return type(error).__name__


async def main():
    async with get_client() as client:
        return {
            "delete_artifact": await said(client.delete_artifact(uuid4())),
            "update_artifact": await said(client.update_artifact(uuid4(), ArtifactUpdate(data="late"))),
            "delete_variable_by_name": await said(client.delete_variable_by_name("nobody_has_this_name")),
            "read_variable_by_name": await said(client.read_variable_by_name("nobody_has_this_name")),
        }


seen = asyncio.run(main())
print("prefect", prefect.__version__)
for name, what in seen.items():
    print(f"  {name:24s} {what}")
assert not issubclass(PrefectHTTPStatusError, ObjectNotFound)
assert seen == EXPECTED, f"this has changed: {seen} instead of {EXPECTED}"
PYTHON

# Prefect's server loads what it finds where it is started, and this is about Prefect alone.
cd "$folder"
PREFECT_HOME="$folder/home" PREFECT_API_URL="" PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true PREFECT_LOGGING_LEVEL=ERROR \
    DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false "$folder/venv/bin/python" "$folder/ask.py"
