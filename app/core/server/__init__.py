"""The server process: gunicorn's arbiter, our workers, and the admin process beside them.

``runtime.prepare_runtime`` has to be called before anything imports ``prometheus_client``, so nothing is imported here.
"""
