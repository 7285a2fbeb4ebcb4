"""People at the desk: who they are, what each may do, and their sessions."""
