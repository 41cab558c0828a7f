"""Pages, cut by page. Thin: read the form, make one store call or queue a job, render."""
