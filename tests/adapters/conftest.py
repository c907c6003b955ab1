"""What the tests of all adapters share."""

import pytest

# Its assertions explain themselves only when pytest has rewritten them.
pytest.register_assert_rewrite("ebbflow.contracts.master")
