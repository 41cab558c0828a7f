"""What the manual and the command line both show."""
