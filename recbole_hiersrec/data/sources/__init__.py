"""Readers of public data sets and of users' logs, one file each: raw files -> a RawLog (data/log.py)."""
