"""The `eventsourcing` library, doing what it is told by lines of JSON on standard input.

Each article document is an aggregate of its own, made by one event that holds the
document: so its documentation records what does not depend on each other. All else is the library's default:
its JSON transcoder, its recorder for PostgreSQL, which takes turns by a lock on the table so
that no reader misses an event, and its connection pool, which is made large enough for the threads.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Article(Aggregate):
    @event("Recorded")
    def __init__(self, document: dict) -> None:
        self.document = document


class Record(Application):
    pass


def append(application: Record, documents: list, *, batch: int, threads: int) -> dict:
    """Save the documents, `batch` of them in a transaction."""
    batches = [documents[i : i + batch] for i in range(0, len(documents), batch)]

    def save(some: list) -> None:
        application.save(*[Article(document=each) for each in some])

    begun = time.perf_counter()
    if threads == 1:
        for each in batches:
            save(each)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(save, batches):
                pass
    return {"seconds": time.perf_counter() - begun}


def read(application: Record) -> dict:
    """Read and decode every event, in order, without folding anything."""
    events, start = 0, 1
    begun = time.perf_counter()
    while notifications := application.recorder.select_notifications(start=start, limit=1000):
        for notification in notifications:
            application.mapper.to_domain_event(notification)
        events += len(notifications)
        start = notifications[-1].id + 1
    return {"events": events, "seconds": time.perf_counter() - begun}


def main() -> None:
    application = Record()
    documents: list = []
    for line in sys.stdin:
        asked = json.loads(line)
        match asked.pop("do"):
            case "load":
                with open(asked["file"], "rb") as lines:  # noqa: PTH123 - plain, as elsewhere in this file
                    documents = [json.loads(each) for each in lines]
                answer = {"documents": len(documents)}
            case "append":
                first, count = asked.pop("first"), asked.pop("count")
                answer = append(application, documents[first : first + count], **asked)
            case "read":
                answer = read(application)
            case other:
                raise SystemExit(f"cannot {other}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
