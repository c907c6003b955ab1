"""One turn of a fleet, through the ports alone. No Prefect."""
