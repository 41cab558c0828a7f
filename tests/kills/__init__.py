"""`kill -9` of every process by chance, while keys are rotated, backups made, the database migrated and people sync:
`python -m tests.kills --minutes 5`.

A whole installation (`flask up`) is started, with a chore beside it; then the chore, one process of the installation
or all of it is killed, as often as there is time. Afterwards all is started once more, and has to be in order.
"""
