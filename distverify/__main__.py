"""``python -m distverify``: the same as the ``distverify`` command."""

from distverify.cli.main import main

main(prog_name="distverify")
