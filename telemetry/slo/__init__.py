"""What requests mean to objectives: counts over windows, error budgets, burn rates and alerts; all of it decides."""
