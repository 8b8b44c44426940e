"""What the process is made of: settings, database, security, limits, logs, the server."""
