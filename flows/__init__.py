"""What Prefect runs, and its side of a turn: tasks, what a person sees, and the ledger of records and claims."""
