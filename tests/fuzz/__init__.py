"""Inputs by chance into everything that reads what others wrote: `python -m tests.fuzz --inputs 100000`.

`inputs` makes them (any bytes, and good ones with something changed), `readers` are the readers that need no
database, `forms` are all forms, addresses and headers of a whole app. A reader refuses what it cannot read by its own
error and no other; a form answers with what is no failure of the server's, and shows what was typed escaped.
"""
