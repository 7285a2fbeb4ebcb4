"""SQL over exported rows: files of rows, and other people's queries in a process that is locked in."""
