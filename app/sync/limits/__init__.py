"""Limits towards providers: concurrency and rate limiter, circuit breaker, and where both keep their state."""
