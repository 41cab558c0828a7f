"""HTTP towards providers: fetching, retries, decompression, SSRF protection, error types."""
