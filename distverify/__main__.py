"""``python -m distverify``: the same as the ``distverify`` command."""

from distverify.cli.main import entry

entry()
