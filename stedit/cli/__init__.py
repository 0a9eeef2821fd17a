"""The command line: commands parse, call and print; what they compute is all in `stedit.engine`."""
