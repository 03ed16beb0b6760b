"""How often each code was told since this process began, by whatever way."""

from collections import Counter

#: Of errors over HTTP, server-sent events and WebSockets alike; what becomes of a document is data, and not counted.
TOLD: Counter[str] = Counter()
