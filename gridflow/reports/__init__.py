"""One HTML page about results and verdicts, which needs nothing but itself: no request leaves it."""
