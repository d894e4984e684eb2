"""Scorer -> one rank a test case -> one value a case -> means; and how long a query takes."""
