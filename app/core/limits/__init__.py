"""Rate limits: how often a caller may do something, counted exactly across workers and pods where a store is shared.

The notation ("10/minute"), the fixed-window strategy and the counting in memory are those of the ``limits`` library.
The shared count is one script and one round trip: ``limits`` needs three for what the headers say (see
``shared.py``).
"""

from app.core.limits.limiter import RateLimiter
from app.core.limits.policy import Policy, Source, Verdict

__all__ = ["Policy", "RateLimiter", "Source", "Verdict"]
