"""Records as their ledger gives them: a page at a time, the newest first."""

from collections.abc import AsyncIterator, Mapping

from ebbflow.core.chain import Stored


class Pages:
    """Finds records by going on to older pages; what is on a page left behind is not found any more.

    Args:
        pages: the newest first.
        keep: is given all that was read, where it is to stay; None: nothing stays.
    """

    def __init__(self, pages: AsyncIterator[Mapping[str, Stored]], keep: dict[str, Stored | None] | None) -> None:
        self._pages, self._keep = pages, keep
        self._page: Mapping[str, Stored] = {}

    async def find(self, artifact_id: str) -> Stored | None:
        """One record; None: it is on no page from here on."""
        while artifact_id not in self._page:
            page = await anext(self._pages, None)
            if page is None:
                return None
            self._page = page
            if self._keep is not None:
                self._keep.update(page)
        return self._page[artifact_id]
