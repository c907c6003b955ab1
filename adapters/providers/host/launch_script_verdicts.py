"""What launch scripts were found to say, decided once and noted; and who has the address that one announced."""

import logging
from contextlib import suppress

from ebbflow.adapters.launch_output import Failed, LaunchOutput, LaunchProblem, Result, Url
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.launch_script_state import Addresses, AddressHolder
from ebbflow.adapters.providers.host.listing import HostLook, Place
from ebbflow.adapters.providers.host.output_verdict import note_result, noted_result
from ebbflow.adapters.providers.host.processes import ProcessId, is_alive
from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import ProviderUnavailable

log = logging.getLogger(__name__)


class LaunchScriptVerdicts:
    """Reads what scripts print.

    Args:
        settings: the script's.
        place: which workers are its.
    """

    def __init__(self, settings: LaunchScriptSettings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self._addresses = Addresses(place)
        self._hide = Redaction(settings)

    def verdict(self, look: HostLook, *, has_exited: bool) -> Result | None:
        """What the script's output says, decided once and for good; None while it may still say something.

        Raises:
            OSError: it cannot be noted.
            ProviderUnavailable: its note cannot be read.
        """
        noted = noted_result(look.folder)
        if noted is not None:
            return noted
        parser = LaunchOutput(self._settings.max_line_bytes, self._settings.max_retries)
        first = processes.leader(look.live)
        is_whole = look.folder.read_output(
            parser, pid=first.pid if first else None, max_bytes=self._settings.max_log_bytes
        )
        result = parser.result
        if result is None and has_exited and is_whole:
            result = parser.end()
        if result is None and self._is_late(look, first):
            why = "; ".join(filter(None, (self._lateness(is_whole=is_whole), parser.ignored)))
            result = Failed(LaunchProblem.TIMEOUT, why)
        if result is not None:
            for warning in parser.warnings:
                log.warning("launch script of worker=%s: %s", look.worker_id, self._hide(warning))
            return self._note(look, result)
        return None

    def _is_late(self, look: HostLook, first: ProcessId | None) -> bool:
        process = look.record.process or first
        return process is None or processes.age_seconds(process) > self._settings.url_timeout_seconds

    def _lateness(self, *, is_whole: bool) -> str:
        where = "" if is_whole else f" in the first {self._settings.max_log_bytes} bytes of its output"
        return f"no NewURL within {self._settings.url_timeout_seconds:g} s{where}"

    def _note(self, look: HostLook, result: Result) -> Result:
        if not look.folder.path.exists():
            # The folder was deleted under a live worker: what it prints is all there is.
            return result
        if isinstance(result, Url):
            with self._addresses.held():
                return note_result(look.folder, self._take_address(look, result))
        return note_result(look.folder, result)

    def _take_address(self, look: HostLook, url: Url) -> Result:
        mine = AddressHolder(look.fleet, look.worker_id)
        other = self._addresses.holder(url.url)
        if other is not None and other != mine and self._lives(other):
            return Failed(LaunchProblem.BAD_URL, f"NewURL {url.url}: {other.worker_id} has that address")
        self._addresses.take(url.url, mine)
        return url

    def _lives(self, holder: AddressHolder) -> bool:
        folder = self._place.folder(holder.fleet, holder.worker_id)
        try:
            record = folder.read()
        except ProviderUnavailable:
            return True
        if not record.was_started or record.ended is not None:
            return False
        if self._settings.lives_while == "url":
            return True
        return folder.is_locked() or (record.process is not None and is_alive(record.process))

    def give_up_address(self, look: HostLook) -> None:
        """Let another worker have the address of one that has ended."""
        with suppress(ProviderUnavailable, OSError):
            noted = noted_result(look.folder)
            if isinstance(noted, Url):
                with self._addresses.held():
                    self._addresses.give_up(noted.url, AddressHolder(look.fleet, look.worker_id))
