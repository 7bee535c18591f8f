"""The audit log: who changed what, from where, with the values before and after."""
