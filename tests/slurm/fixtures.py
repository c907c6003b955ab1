"""The session's cluster, for every test module that takes it into its conftest or itself."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def slurm_session(slurm_is_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster per session, started when the first test wants it."""
    with cluster(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture
def slurm(slurm_session: Cluster) -> Iterator[Cluster]:
    """The session's cluster, whole again after the test, and without the jobs that the test left."""
    yield slurm_session
    slurm_session.repair()
    if left := list(slurm_session.jobs()):
        slurm_session.run("scancel", *left, check=False)
