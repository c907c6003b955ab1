"""Provider `slurm`: workers are jobs of a Slurm cluster."""
