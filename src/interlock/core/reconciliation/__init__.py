"""Files from providers and banks: taken in, and one day held against the ledger."""
