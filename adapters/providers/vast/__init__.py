"""Provider `vast`: workers are instances rented at Vast."""
