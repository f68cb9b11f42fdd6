"""The commands of the command line, one module for those that belong together: each says its options and does its work.

Heavy modules are imported inside of what they do, so that `gridflow --help` and `gridflow list` are instant.
"""
