"""The engine in a web application without a loop: one request starts a run, another one tells how it stands.

Run it: python web.py

In Flask or Django it is the same: each request has its thread, and all threads share one engine. To
have an end, this program is its own browser.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.request import urlopen

from continuum import Engine, RunNotFound, Save, workflow


def charge(order_id: str, amount: int) -> str:
    return f"{amount} charged for {order_id}"


@workflow
def order(order_id: str, amount: int):
    return (yield Save(charge, order_id, amount))


engine = Engine("./shop", workflows=[order])


class Orders(BaseHTTPRequestHandler):
    """POST /orders starts a run, GET /orders/ID reads it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        run = engine.start(order(asked["id"], asked["amount"]), id=asked["id"])  # asked again: the same run
        self.answer(202, {"id": run.id})

    def do_GET(self) -> None:
        try:
            run = engine.run(self.path.removeprefix("/orders/")).describe()
        except RunNotFound as error:
            self.answer(404, {"error": str(error)})
        else:
            self.answer(200, {"status": run.status, "result": run.result})

    def answer(self, code: int, body: dict[str, object]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


def browse(url: str) -> None:
    for _ in range(2):  # somebody clicks twice
        with urlopen(url, json.dumps({"id": "ord-1", "amount": 90}).encode()) as answer:
            print(answer.status, answer.read().decode())
    engine.run("ord-1").wait(timeout=30)
    with urlopen(f"{url}/ord-1") as answer:
        print(answer.status, answer.read().decode())


if __name__ == "__main__":
    with engine, ThreadingHTTPServer(("127.0.0.1", 0), Orders) as server:
        Thread(target=server.serve_forever).start()
        try:
            browse(f"http://127.0.0.1:{server.server_port}/orders")
        finally:
            server.shutdown()
