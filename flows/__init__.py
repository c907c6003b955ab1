"""What Prefect runs: the turn in its three forms, its tasks, and the ledger of records and claims."""
