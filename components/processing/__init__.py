"""Processing: learns how raw tables become features, and makes the same features of production data."""
