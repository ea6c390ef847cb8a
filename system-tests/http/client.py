"""What a program in Python does with the HTTP API, by requests: python client.py URL TOKEN ADMIN OTHER.

TOKEN may read plant/**, write plant/a/** and delete plant/a/*; OTHER may write other/**; ADMIN sees the cluster and
reads everything.
"""

import csv
import gzip
import io
import json
import sys

import requests

URL, TOKEN, ADMIN, OTHER = sys.argv[1:]
API = URL + "/api/v1"


def session(token=None):
    session = requests.Session()
    if token:
        session.headers["authorization"] = "Bearer " + token
    return session


def problem(response, status, code):
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["status"], document["code"]) == (status, code), document
    assert document["request_id"] == response.headers["x-request-id"], document
    return document["detail"]


def main():
    user, admin, nobody = session(TOKEN), session(ADMIN), session()

    # Nobody is let in without a token, but to what everybody may see.
    refused = nobody.get(API + "/last", params={"match": "**"})
    problem(refused, 401, "UNAUTHENTICATED")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    wrong = TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1")
    problem(session(wrong).get(API + "/last", params={"match": "**"}), 401, "UNAUTHENTICATED")
    for path in ["/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/docs"]:
        assert nobody.get(URL + path).status_code == 200, path

    # Readings are written, found in each form, and deleted.
    times = [1767225600000000000 + second * 10**9 for second in range(3)]
    readings = [
        {"path": "plant/a/parts", "timestamp": time, "value": 9007199254740993 + position, "kind": "i64"}
        for position, time in enumerate(times)
    ]
    written = user.post(API + "/readings", json=readings)
    assert written.status_code == 200, written.text
    assert written.json()["written"] == 3
    token = written.headers["tidemark-token"]
    packed = gzip.compress(json.dumps([{"path": "plant/a/level", "timestamp": times[0], "value": 1.5}]).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert user.post(API + "/readings", data=packed, headers=headers).status_code == 200
    broken = user.post(API + "/readings", data=packed[:-9], headers=headers)
    problem(broken, 400, "BAD_REQUEST")
    unknown = {"content-type": "application/json", "content-encoding": "snappy"}
    problem(user.post(API + "/readings", data=packed, headers=unknown), 415, "BAD_REQUEST")

    question = {
        "match": "plant/a/parts",
        "from": "2026-01-01",
        "to": "2026-01-02",
        "time": "ns",
        "consistency": "at-least=" + token,
    }
    values = [reading["value"] for reading in readings]
    document = user.get(API + "/range", params=question).json()
    assert document["series"][0]["timestamps"] == times, document
    assert document["series"][0]["values"] == values, document
    text = user.get(API + "/range", params=question, headers={"accept": "text/csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(int(row["timestamp"]), int(row["value"])) for row in rows] == list(zip(times, values)), text
    lines = user.get(API + "/range", params=question | {"format": "ndjson"}).text.splitlines()
    assert [json.loads(line)["value"] for line in lines] == values, lines
    for encoding in ["gzip", "br"]:
        response = user.get(API + "/range", params=question, headers={"accept-encoding": encoding}, stream=True)
        assert response.headers.get("content-encoding") == encoding, response.headers

    # Series are opened, described, and listed.
    opened = {"path": "plant/a/note", "kind": "text", "attributes": {"hall": "3"}}
    assert user.post(API + "/series", json=opened).status_code == 201
    again = user.post(API + "/series", json=opened | {"unit": "1"})
    assert (again.status_code, again.json()["unit"]) == (200, "1"), again.text
    patch = {"unit": None, "attributes": {"hall": None, "line": "2"}}
    changed = user.patch(API + "/series/plant/a/note", json=patch)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["unit"], changed.json()["attributes"]) == ("", {"line": "2"}), changed.text
    problem(user.post(API + "/series", json=opened | {"kind": "f64"}), 409, "KIND_MISMATCH")
    problem(user.patch(API + "/series/plant/a/not", json=patch), 404, "NOT_FOUND")
    listed = user.get(API + "/series", params={"match": "**"}).json()["series"]
    assert [series["path"] for series in listed] == ["plant/a/level", "plant/a/note", "plant/a/parts"], listed

    # What the token does not cover is left out of wildcards, and refused by name.
    problem(user.post(API + "/readings", json=[readings[0] | {"path": "plant/b/parts"}]), 403, "FORBIDDEN")
    problem(user.patch(API + "/series/other/a", json=patch), 403, "FORBIDDEN")
    # Not even the kind of a series is told.
    secret = {"path": "other/secret", "kind": "text"}
    opened_by_another = session(OTHER).post(API + "/series", json=secret)
    assert opened_by_another.status_code == 201, opened_by_another.text
    number = [{"path": "other/secret", "timestamp": "now", "value": 1}]
    problem(user.post(API + "/readings", json=number), 403, "FORBIDDEN")
    problem(user.get(API + "/range", params={"match": "other/a", "from": "-1h"}), 403, "FORBIDDEN")
    problem(user.get(API + "/cluster"), 403, "FORBIDDEN")
    problem(user.get(URL + "/metrics"), 403, "FORBIDDEN")
    problem(admin.post(API + "/readings", json=readings), 403, "FORBIDDEN")
    assert len(admin.get(API + "/cluster").json()["nodes"]) == 3
    assert "tidemark_query_http_requests_total" in admin.get(URL + "/metrics").text
    # Nobody reads tokens over HTTP.
    everything = admin.get(API + "/series", params={"match": "**"}).text
    assert "api-tokens" not in everything, everything
    problem(admin.get(API + "/last", params={"match": "_tidemark/api-tokens/x"}), 403, "FORBIDDEN")

    day = {"match": "plant/*/parts", "from": "2026-01-01", "to": "2026-01-02"}
    assert user.delete(API + "/readings", params=day).status_code == 200
    document = user.get(API + "/range", params=question | {"consistency": "linearizable"}).json()
    assert document["series"][0]["values"] == [], document

    # An id of one's own is taken, and one that does not fit a log is not.
    named = user.get(API + "/last", params={"match": "**"}, headers={"x-request-id": "job-7"})
    assert named.headers["x-request-id"] == "job-7"
    replaced = user.get(API + "/last", params={"match": "**"}, headers={"x-request-id": "a b"})
    assert replaced.headers["x-request-id"] != "a b"
    print("requests: everything as documented")


main()
