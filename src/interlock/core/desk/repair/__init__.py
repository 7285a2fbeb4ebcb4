"""The same thing done to many payments: previewed, asked for by one person, approved by another, done once each."""
