"""Suites, harness, records, statistics, reports and the command line. Importing this imports no framework and no pandas."""
