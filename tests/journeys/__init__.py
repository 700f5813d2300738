"""A script for each kind of user, from start to end, on the model and the data that are shipped.

Each is what a newcomer would write after the README; ``python -m tests.journeys.researcher FOLDER`` runs one.
"""
