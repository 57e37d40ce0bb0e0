"""What the components cost, beside what others cost that do the same, or beside what the machine can do at all."""
