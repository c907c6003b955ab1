"""Pure decisions: who exists, how many are wanted, what binds, where and who. No Prefect, no I/O, no clock."""
