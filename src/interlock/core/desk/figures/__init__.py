"""What the desk knows of every payment and every attempt, across merchants: rows to find and to count."""
