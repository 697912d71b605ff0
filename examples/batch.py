"""Many items, a few at a time: failures are tried again, and what fails for good is told apart.

Run it: python batch.py
"""

from continuum import Engine, Map, Publish, Retry, Save, step, workflow

ITEMS = [f"page-{number}" for number in range(8)]


@step(retry=Retry(attempts=3, delay=0.01, on=ConnectionError))
def fetch(page: str) -> int:
    if page == "page-3":
        raise ValueError(f"{page} is no page")
    return len(page)


def list_pages() -> list[str]:
    return ITEMS


@workflow
def crawl(at_a_time: int):
    pages = yield Save(list_pages)  # what changes between runs is read in a step
    results = yield Map(fetch, pages, limit=at_a_time, return_exceptions=True)
    failed = [page for page, result in zip(pages, results, strict=True) if isinstance(result, Exception)]
    yield Publish(fetched=len(pages) - len(failed), failed=failed)
    return sum(result for result in results if isinstance(result, int))


if __name__ == "__main__":
    with Engine("./crawl", workflows=[crawl]) as engine:
        run = engine.start(crawl(at_a_time=3), id="crawl-1")
        print(run.result(timeout=30), run.state())
