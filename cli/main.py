"""The command `ebbflow`: its subcommands, and nothing that takes long to import.

What a subcommand needs of Prefect is imported when it runs, so that help and offline checks are there at once.
"""

import typer

from ebbflow.cli.advise import advise
from ebbflow.cli.check import check
from ebbflow.cli.costs import costs
from ebbflow.cli.doctor import doctor
from ebbflow.cli.down import down
from ebbflow.cli.endpoint import endpoint
from ebbflow.cli.gateway import gateway
from ebbflow.cli.hypha import hypha
from ebbflow.cli.init import init
from ebbflow.cli.overrides import end_one, pause, pin, resume, scale, unpin
from ebbflow.cli.replay import replay
from ebbflow.cli.runner import run_turn, runner
from ebbflow.cli.simulate_clients import simulate_clients
from ebbflow.cli.speaking import EXIT_CODES
from ebbflow.cli.start_worker import start_worker
from ebbflow.cli.status import status
from ebbflow.cli.up import up
from ebbflow.cli.version import version
from ebbflow.cli.waiting_room import waiting_room
from ebbflow.cli.why import why

app = typer.Typer(
    name="ebbflow",
    help="GPU fleets that rise and fall with demand, run as Prefect flows.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
override = typer.Typer(help="What persons hold a fleet at.", no_args_is_help=True, rich_markup_mode=None)
override.command("end")(end_one)

app.command()(init)
app.command()(check)
app.command()(up)
app.command()(down)
app.command()(status)
app.command()(why)
app.command()(replay)
app.command()(costs)
app.command()(advise)
# So that -1 is a number, and no option.
app.command(context_settings={"ignore_unknown_options": True})(scale)
app.command()(pause)
app.command()(resume)
app.command()(pin)
app.command()(unpin)
app.add_typer(override, name="override")
app.command()(doctor)
app.command()(version)
app.command()(waiting_room)
app.command()(runner)
app.command()(run_turn)
app.command()(gateway)
app.command()(endpoint)
app.command()(hypha)
app.command()(simulate_clients)
# An extension of SwarmUI may pass arguments to a start script.
app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(start_worker)
