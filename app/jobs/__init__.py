"""Background jobs, on RQ. No code outside this package imports rq.

Jobs carry ids only and are idempotent: database rows decide whether work is left to do, so a job that is delivered
twice, late or after a restart does no harm. Redis may lose all jobs: `periodic.housekeeping` queues them again.

registry       the functions a job may call, and JSON as the format of jobs
queues         queue names, job ids and the Redis connection
context        the app, the keyring and the sync context of a worker process
tasks          job functions
periodic       job functions that the scheduler queues at fixed intervals
enqueue        what web, API and command line call
process        the worker and the scheduler process
workers        RQ's worker, pool and scheduler, adapted
pubsub         Redis pub/sub, from jobs to watching pages
monitoring     the state of queues, workers and failed jobs
digest_email, signup_email, provider_test
"""
