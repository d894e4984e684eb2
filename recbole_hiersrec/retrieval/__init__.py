"""Candidate rules: which items are scored for a query. One interface (`base`), one file a rule."""
