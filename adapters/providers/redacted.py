"""A provider whose words hold none of its own secrets: its errors, its rows, and what its workers printed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ebbflow.adapters.redaction import Redaction
from ebbflow.core.addresses import url_problem
from ebbflow.core.instance import Instance, InstanceList, LaunchRequest, ProviderCaps
from ebbflow.core.ports import Provider


class RedactedProvider:
    """Any provider, with its secrets taken out of all that leaves it.

    Args:
        provider: what does the work.
        redact: knows the secrets of its settings.
    """

    def __init__(self, provider: Provider, redact: Redaction) -> None:
        self._provider = provider
        self._redact = redact

    @property
    def caps(self) -> ProviderCaps:
        """Those of the real one."""
        return self._provider.caps

    async def launch(self, request: LaunchRequest) -> Instance:
        """Ask for one worker."""
        with self._clean_errors():
            return self._row(await self._provider.launch(request))

    async def list_instances(self, fleet: str) -> InstanceList:
        """What exists."""
        with self._clean_errors():
            listing = await self._provider.list_instances(fleet)
            rows = tuple(self._row(row) for row in listing.instances)
            return replace(listing, instances=rows, detail=self._redact(listing.detail))

    async def terminate(self, instance: Instance) -> None:
        """End one."""
        with self._clean_errors():
            await self._provider.terminate(instance)

    async def stop(self, instance: Instance) -> None:
        """Stop one and keep it."""
        with self._clean_errors():
            await self._provider.stop(instance)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """What one printed."""
        with self._clean_errors():
            outputs = await self._provider.logs(instance)
            return {name: self._redact(text) for name, text in outputs.items()}

    async def aclose(self) -> None:
        """Close the real one's connections."""
        with self._clean_errors():
            await self._provider.aclose()

    def _row(self, row: Instance) -> Instance:
        hide, url = self._redact, row.url
        if url is not None and url_problem(url):
            # Nobody asks it, as where it has a user or a query. Any other is what is asked and registered: it stays.
            url = hide(url)
        return replace(row, url=url, detail=hide(row.detail), ends_soon=hide(row.ends_soon), warning=hide(row.warning))

    @contextmanager
    def _clean_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            cleaned = self._redact.cleaned(error)
            if cleaned is error:
                raise
            raise cleaned from None
