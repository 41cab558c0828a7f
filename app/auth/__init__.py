"""Sign-in building blocks: password hashing, TOTP, OpenID Connect, encryption with the secret key, settings."""
