"""The double-entry ledger: a chart of accounts, balanced journals, balances folded from them, and the proof of all three."""
