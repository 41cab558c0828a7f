"""Everything at once and everything failing: `python -m tests.chaos --minutes 20 --users 200 --keys 5 --days 20`.

`plan` says what the providers list on which day, `far_end` serves it in a process of its own and notes what it served,
`stage` runs the databases and the workers and breaks them, `people` are those who use it meanwhile, and `verdict`
compares afterwards what the database tells with what was served.
"""
