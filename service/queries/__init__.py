"""Reads: rows in, domain objects out.

Every read is told the position as of which it answers, so that the past reads
like the present. Those for lists of parents take all of them at once.
"""
