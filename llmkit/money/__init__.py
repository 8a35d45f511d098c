"""Money: prices, costs, estimates and what they rest on. Money is computed nowhere else."""
