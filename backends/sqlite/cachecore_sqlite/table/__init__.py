"""The SQL: rows, their index, transactions, maintenance."""
