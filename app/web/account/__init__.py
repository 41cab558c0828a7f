"""Account pages: sign-up, sign-in, second factor, settings, notifications, tokens."""
