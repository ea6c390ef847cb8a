"""Reads Arrow streams and Parquet files with pyarrow and pandas, and compares them with CSV and JSON.

Imports a file that pandas wrote, asks over HTTP with requests and on the command line, exports Parquet,
and imports that again, in every kind.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests

ARROW = "application/vnd.apache.arrow.stream"
START = pd.Timestamp("2026-01-01T00:00:00Z")
RANGE = {"from": "2026-01-01", "to": "2026-01-03"}
# Longer than a batch of the stream, so that series span batches and batches series.
ROWS = 50_000


class Program:
    def __init__(self, path):
        self.path = path

    def run(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{arguments}: {done.stderr.decode()}")
        return done.stdout


class Service:
    """A `query-app serve` of our own on a free port."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program.path, "serve", "--http", "127.0.0.1:0"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TIDEMARK_LOG": "error"},
        )
        self.base = "http://" + self.process.stdout.readline().strip().split("=")[1] + "/api/v1/"

    def stream(self, route, parameters, **how):
        reply = requests.get(self.base + route, params=parameters, stream=True, timeout=60, **how)
        reply.raise_for_status()
        assert reply.headers["content-type"] == ARROW, reply.headers
        assert "tidemark-token" in reply.headers
        reply.raw.decode_content = True
        return pa.ipc.open_stream(reply.raw).read_all()

    def csv(self, route, parameters):
        reply = requests.get(self.base + route, params={**parameters, "format": "csv"}, timeout=60)
        reply.raise_for_status()
        return reply.text

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def written(folder, program):
    """Writes a series of each kind and a wide file of floats; gives what is in the store."""
    times = START + pd.to_timedelta(np.arange(ROWS) * 1_000_000_007, unit="ns").astype("timedelta64[ns]")
    generator = np.random.default_rng(7)
    wide = pd.DataFrame({
        "when": times,
        "plant/a/f64": generator.standard_normal(ROWS) * 10.0 ** generator.integers(-300, 300, ROWS),
        "plant/a/i64": generator.integers(-2**63, 2**63 - 1, ROWS, dtype=np.int64),
        "plant/b/bool": generator.integers(0, 2, ROWS).astype(bool),
        "plant/b/text": pd.Series([f"state {n % 7}, \"quoted\"" for n in range(ROWS)]),
    })
    source = folder / "wide.parquet"
    wide.to_parquet(source)
    print(program.run("import", source).decode(), end="")
    program.run("put", "plant/c/empty", "", "--kind", "text", "--at", "2026-01-01")
    frames = [
        pd.DataFrame({"path": name, "timestamp": wide["when"], "value": wide[name].astype(object)})
        for name in wide.columns[1:]
    ]
    frames.append(pd.DataFrame({"path": ["plant/c/empty"], "timestamp": [START], "value": [""]}))
    return pd.concat(frames, ignore_index=True)


def exact(table):
    """The rows of a table, each with the one value it has."""
    frame = table.to_pandas()
    integers = table["value_i64"].to_pylist()
    columns = zip(integers, frame["value_bool"], table["value_text"].to_pylist(), frame["value"])
    frame["exact"] = [
        next(value for value in row if value is not None and not (isinstance(value, float) and value != value))
        for row in columns
    ]
    return frame


def compare(table, expected, what):
    frame = exact(table)
    assert list(frame["path"].astype(str)) == list(expected["path"]), what
    assert str(table.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]", table.schema
    nanos = frame["timestamp"].astype("int64").to_numpy()
    assert (nanos == expected["timestamp"].astype("int64").to_numpy()).all(), what
    for position, (found, wanted) in enumerate(zip(frame["exact"], expected["value"])):
        same = found == wanted and isinstance(found, str) == isinstance(wanted, str)
        assert same, f"{what}, row {position}: {found!r}, not {wanted!r}"
    print(f"{what}: {len(frame)} rows")


def buckets(service):
    parameters = {"match": "plant/**", **RANGE, "every": "1h", "agg": "mean,min,count,last"}
    table = service.stream("range", {**parameters, "format": "arrow"})
    frame = table.to_pandas()
    text = pd.read_csv(io.StringIO(service.csv("range", parameters)))
    assert list(frame["path"].astype(str)) == list(text["series"])
    starts = pd.to_datetime(text["bucket_start"], format="ISO8601").astype("datetime64[ns, UTC]")
    assert (frame["bucket_start"].to_numpy() == starts.to_numpy()).all()
    assert (frame["count"] == text["count"]).all() and frame["count"].dtype == np.int64
    numeric = text["series"].isin(["plant/a/f64", "plant/a/i64"])
    for name in ["mean", "min", "last"]:
        wanted = np.array([float(value) for value in text.loc[numeric, name]])
        assert (frame.loc[numeric, name].to_numpy() == wanted).all(), name
    texts = text["series"] == "plant/b/text"
    assert (frame.loc[texts, "last_text"] == text.loc[texts, "last"]).all()
    assert frame.loc[texts, ["mean", "min", "last"]].isna().all(axis=None)
    grouped = service.stream("range", {**parameters, "by": "2,attr:none", "format": "arrow"})
    assert grouped.schema.names[:3] == ["2", "attr:none", "bucket_start"], grouped.schema
    assert set(grouped["2"].to_pylist()) == {"a", "b", "c"}
    assert set(grouped["attr:none"].to_pylist()) == {None}
    print(f"buckets: {len(frame)} rows")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--query-app", required=True)
    program = Program(arguments.parse_args().query_app)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        expected = written(folder, program)
        service = Service(program)
        try:
            asked = {"match": "plant/**", **RANGE}
            compare(service.stream("range", asked, headers={"accept": ARROW}), expected, "range over HTTP")
            last = service.stream("last", {"match": "plant/**", "format": "arrow"})
            compare(last, expected.groupby("path", as_index=False).tail(1), "last over HTTP")
            none = service.stream("range", {**asked, "match": "nothing/**", "format": "arrow"})
            assert len(none) == 0 and none.schema.names[:3] == ["path", "timestamp", "value"]
            buckets(service)
            frame = pa.ipc.open_stream(
                program.run("range", "plant/a/*", "--from", RANGE["from"], "--to", RANGE["to"], "--format", "arrow")
            ).read_pandas()
            pivot = frame.pivot(index="timestamp", columns="path", values="value")
            assert pivot.shape == (ROWS, 2), pivot.shape
        finally:
            service.stop()
        exported = folder / "all.parquet"
        range_flags = ["--from", RANGE["from"], "--to", RANGE["to"]]
        program.run("export", "plant/**", *range_flags, "--out", exported)
        compare(pq.read_table(exported), expected, "Parquet")
        assert pq.ParquetFile(exported).metadata.num_row_groups >= 1
        program.run("import", exported, "--prefix", "copy")
        first = program.run("range", "plant/**", *range_flags, "--format", "csv")
        copy = program.run("range", "copy/plant/**", *range_flags, "--format", "csv")
        assert copy.replace(b"copy/plant/", b"plant/") == first
        print(f"CSV of the copy: {len(first)} bytes, the same")


if __name__ == "__main__":
    sys.exit(main())
