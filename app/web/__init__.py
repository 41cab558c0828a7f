"""HTML pages. Views are thin: parse the request, call the store or enqueue a job, render."""
