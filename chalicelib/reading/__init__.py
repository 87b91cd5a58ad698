"""What was published, read: records page by page, one record with where it came from, numbers of all sources.

Plain functions on a connection; the API's routes and the command line are thin over them. Values are parameters of
every statement, names of columns and tables are those of Postgres' catalog, never what somebody sent.
"""
