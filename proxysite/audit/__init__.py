"""The audit log: each change with its author, address, and the values before and after."""
