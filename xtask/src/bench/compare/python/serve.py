"""What a database within this process is told: a JSON document a line on stdin, answered by one on stdout."""

import json
import sys
import threading
import time


def serve(database):
    """Answers until stdin ends. `database` has create, prepare, load, settle, connect, answer, text and close."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(database, request)
        except Exception as error:  # Whatever it is, the one who asked is told.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(database, request):
    match request["do"]:
        case "create":
            return {"version": database.create(request["columns"])}
        case "prepare":
            database.prepare(request["files"], request["columns"], request["folder"])
            return {}
        case "load":
            begun = time.perf_counter_ns()
            database.load()
            return {"ns": time.perf_counter_ns() - begun}
        case "settle":
            return {"bytes": database.settle()}
        case "ask":
            return {"times_ns": _ask(database, request), "text": database.text(request["sql"])}
        case "stop":
            database.close()
            return {}


def _ask(database, request):
    """Times of the answers, by so many threads at once, each with a connection on which one has come before."""
    sql, left, longest_ns = request["sql"], request["times"], request["longest_s"] * 1e9
    if left == 0:
        return []
    connections = [database.connect() for _ in range(request["clients"])]
    for connection in connections:
        database.answer(connection, sql)
    lock, times, errors = threading.Lock(), [], []
    begun = time.perf_counter_ns()

    def client(connection):
        nonlocal left
        is_first = True
        while is_first or time.perf_counter_ns() - begun < longest_ns:
            is_first = False
            with lock:
                if left == 0:
                    return
                left -= 1
            asked = time.perf_counter_ns()
            try:
                database.answer(connection, sql)
            except Exception as error:
                errors.append(error)
                return
            times.append(time.perf_counter_ns() - asked)

    threads = [threading.Thread(target=client, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return times
