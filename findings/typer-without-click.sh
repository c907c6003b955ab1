#!/usr/bin/env bash
# Typer 0.29.2; click 8.5.1 beside it.
#
# Common guess: Typer is built on click and brings it along; what `typer.main.get_command` gives is a `click.Command`, so
# that click's own tools (its test runner, its types, whatever documents a click program) take a Typer program as it is.
#
# Seen: Typer carries a copy of click inside (`typer._click`) and does not depend on the package. Where Typer alone was
# installed there is no click, so that what imports it beside Typer fails; where there is one, the command is no instance
# of `click.Command`, and neither a typed call nor a check by type takes it for one.
#
# Ours: a type check refused our test that parses the commands on our pages; `tests/test_docs.py` does it by Typer's own
# context (`test_every_command_of_ours_on_a_page_is_understood`), and nothing of ours imports click.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "typer==0.29.2"

alone=$("$folder/venv/bin/python" -c 'import importlib.util as u; print("there" if u.find_spec("click") else "not there")')
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "click==8.5.1"
cat > "$folder/look.py" <<'PYTHON'
import click
import typer
from typer.main import get_command

app = typer.Typer()


@app.command()
def hello() -> None:
    """Say hello."""


print("instance of click.Command:", isinstance(get_command(app), click.Command))
PYTHON
seen="click after Typer alone: $alone
$("$folder/venv/bin/python" "$folder/look.py")"
expected="click after Typer alone: not there
instance of click.Command: False"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed; it was:"; echo "$expected"; exit 1; }
