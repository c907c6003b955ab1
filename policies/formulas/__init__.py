"""What several policies, or a policy and the decision around it, share. Pure."""
