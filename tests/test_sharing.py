"""Who shares a worker of the session, and who begins first."""

from pathlib import Path

from tests.sharing import LONG_SECONDS, LONGEST_FIRST, SERVERS, SPREAD_LAST, ByFile, rank, servers

ROOT = Path(__file__).parents[1]


def scheduler(workers: int = 2 * SERVERS) -> ByFile:
    made: ByFile = object.__new__(ByFile)
    made.numnodes = workers
    return made


def test_files_that_need_a_server_share_few_workers() -> None:
    files = list(servers(SERVERS))
    assert "tests/flows/test_turn.py" in files
    scopes = {scheduler()._split_scope(f"{file}::test_x[a::b]") for file in files}
    assert len(scopes) == SERVERS


def test_what_takes_long_is_shared_evenly_and_so_is_the_number_of_files() -> None:
    shares = servers(SERVERS)
    seconds = [
        sum(each for name, each in LONG_SECONDS.items() if shares[name] == share) for share in set(shares.values())
    ]
    files = [list(shares.values()).count(share) for share in set(shares.values())]
    assert max(seconds) < 1.3 * min(seconds)
    assert max(files) - min(files) <= len(LONG_SECONDS)


def test_where_there_are_few_workers_whoever_is_done_takes_the_next_file() -> None:
    files = list(servers(SERVERS))
    assert [scheduler(SERVERS)._split_scope(f"{file}::test_x") for file in files] == files


def test_every_other_file_is_a_scope_of_its_own() -> None:
    assert scheduler()._split_scope("tests/core/test_ids.py::TestX::test_y[a/b.py::c]") == "tests/core/test_ids.py"


def test_the_tests_of_a_search_are_spread_one_by_one() -> None:
    nodes = {f"{SPREAD_LAST[0]}::test_x[{case}]" for case in ("one", "two")}
    assert {scheduler()._split_scope(node) for node in nodes} == nodes


def test_what_needs_a_server_and_what_takes_longest_begins_first_and_searches_last() -> None:
    files = [
        LONGEST_FIRST[0],
        "tests/e2e/test_deployed.py",
        "tests/flows/test_turn.py",
        "tests/e2e/test_whole_demo.py",
        "tests/core/test_ids.py",
        SPREAD_LAST[0],
    ]
    nodes = [f"{file}::test_x" for file in files]
    assert sorted(reversed(nodes), key=rank) == nodes


def test_whose_place_is_named_exists() -> None:
    assert [name for name in (*LONGEST_FIRST, *LONG_SECONDS, *SPREAD_LAST) if not (ROOT / name).is_file()] == []
