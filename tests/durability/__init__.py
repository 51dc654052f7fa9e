"""What is promised when processes are killed and power is cut."""
