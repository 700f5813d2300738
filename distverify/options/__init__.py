"""Options, each said once: the fields of frozen dataclasses, from which the command line and the Python functions are made."""
