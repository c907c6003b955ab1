"""Provider `kubernetes`: workers are bare pods of one namespace."""
