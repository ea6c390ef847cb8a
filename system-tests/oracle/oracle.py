"""Compares every aggregate, fill, group, filter and order with pandas and numpy.

Writes data of its own (gaps, repeated times, counters that begin again, changes of clocks) and, where
there are any, recordings; asks every node over HTTP; and computes each answer again.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd

NS = 1_000_000_000
EXACT_VALUES_MAX = 4096
NUMERIC = ["f64", "i64", "bool"]
AGGREGATES = [
    "mean", "min", "max", "sum", "count", "first", "last", "stddev", "p0", "p5", "p50", "p99.9", "p100",
    "rate", "increase", "delta", "twa",
]


class Service:
    """A `query-app serve` of our own on a free port."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "serve", "--http", "127.0.0.1:0", "--timeout", "120s"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TIDEMARK_LOG": "error"},
        )
        self.base = "http://" + self.process.stdout.readline().strip().split("=")[1]

    def open(self, path, data=None):
        request = urllib.request.Request(self.base + path, data=data)
        if data is not None:
            request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=150) as reply:
                return reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.read().decode()}") from error

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def write(service, readings):
    """Writes (path, ns, value, kind) in their order; the later of two at one time counts."""
    token = None
    for start in range(0, len(readings), 20_000):
        rows = [
            {"path": path, "timestamp": time, "value": value, "kind": kind}
            for path, time, value, kind in readings[start:start + 20_000]
        ]
        body, _ = service.open("/api/v1/readings", json.dumps(rows).encode())
        token = json.loads(body)["token"]
    return token


def generated(seed):
    """Readings over the days around both changes of clocks of 2025, in Berlin."""
    rng = random.Random(seed)
    starts = [pd.Timestamp("2025-03-28", tz="UTC").value, pd.Timestamp("2025-10-24", tz="UTC").value]
    readings = []
    for line in ("a", "b"):
        for device in ("one", "two"):
            for kind in (*NUMERIC, "text"):
                path = f"oracle-{seed}/{line}/{device}/{kind}"
                level, counter = 20.0, 0
                for start in starts:
                    time = start + rng.randrange(3600) * NS
                    while time < start + 5 * 86_400 * NS:
                        time += rng.choice([61, 300, 607, 1800]) * NS + rng.randrange(3) * 250_000_000
                        if rng.random() < 0.01:
                            time += rng.randrange(4, 30) * 3600 * NS
                        level += rng.gauss(0, 0.7)
                        counter = 0 if rng.random() < 0.02 else counter + rng.randrange(9)
                        value = {
                            "f64": round(level, 2), "i64": counter, "bool": rng.random() < 0.4,
                            "text": rng.choice(["run", "stop, wait", "it's"]),
                        }[kind]
                        readings.append((path, time, value, kind))
                        if rng.random() < 0.05:
                            again = {"f64": value, "i64": value, "bool": not value, "text": "again"}[kind]
                            readings.append((path, time, again, kind))
    # Enough of one bucket that its percentiles are estimated.
    start = pd.Timestamp("2025-06-01", tz="UTC").value
    for step in range(9_000):
        value = round(rng.lognormvariate(3, 1), 3)
        readings.append((f"oracle-{seed}/many/one/f64", start + step * 7 * NS, value, "f64"))
    return readings


def recorded(folder, seed):
    readings = []
    for number, file in enumerate(sorted(Path(folder).glob("*.csv")) if folder else []):
        table = pd.read_csv(file)
        time_column = "timestamp" if "timestamp" in table else "date"
        times = pd.to_datetime(table[time_column], utc=True).astype("datetime64[ns, UTC]").astype("int64")
        for column in table.columns:
            if column == time_column or not pd.api.types.is_numeric_dtype(table[column]):
                continue
            path = f"recorded-{seed}/r{number}/x/{''.join(c for c in column if c.isalnum())}"
            readings += [
                (path, int(t), float(v), "f64") for t, v in zip(times, table[column]) if not math.isnan(v)
            ]
    return readings


def series_of(readings):
    """Each series as the store must have it: by time, the later of two at one time."""
    series, kinds = {}, {}
    for path, time, value, kind in readings:
        series.setdefault(path, {})[time] = value
        kinds[path] = kind
    return {path: (kinds[path], sorted(rows.items())) for path, rows in series.items()}


def starts_of(every, tz, start, end):
    """Where buckets begin, and where the last ends, in ns."""
    if every == "all":
        return [start, end]
    if every in ("1d", "1w", "1mo", "1y") and (tz or every != "1d"):
        zone = tz or "UTC"
        first = pd.Timestamp(start, tz="UTC").tz_convert(zone).normalize()
        if every == "1w":
            first -= pd.DateOffset(days=first.day_of_week)
        if every == "1mo":
            first = first.replace(day=1)
        if every == "1y":
            first = first.replace(day=1, month=1)
        step = {"1d": pd.DateOffset(days=1), "1w": pd.DateOffset(weeks=1),
                "1mo": pd.DateOffset(months=1), "1y": pd.DateOffset(years=1)}[every]
        # Steps on the clock of the wall: midnight to midnight.
        wall, edges = first.tz_localize(None), []
        while not edges or edges[-1] < end:
            edges.append(wall.tz_localize(zone).tz_convert("UTC").value)
            wall += step
        return edges
    width = {"10m": 600, "47m": 2820, "6h": 6 * 3600, "1d": 86_400}[every] * NS
    edges = [start - start % width]
    while edges[-1] < end:
        edges.append(edges[-1] + width)
    return edges


def number(value):
    return float(value)


def part_of(kind, rows, low, high, before, window):
    """All aggregates of one series in one bucket, in a form that groups can join."""
    times = np.array([time for time, _ in rows], dtype="int64")
    values = [value for _, value in rows]
    part = {"count": len(rows), "first": rows[0], "last": rows[-1], "kind": kind}
    if kind == "text":
        return part
    numbers = pd.Series([number(value) for value in values])
    part["numbers"] = numbers
    part["extremes"] = values
    chain = ([before] if before else []) + rows
    if len(chain) > 1:
        steps = pd.Series([number(value) for _, value in chain]).diff().iloc[1:]
        later = pd.Series([number(value) for _, value in chain]).iloc[1:]
        part["delta"] = steps.sum()
        part["increase"] = steps.where(steps >= 0, later).sum()
        part["rate"] = part["increase"] / ((chain[-1][0] - chain[0][0]) / NS)
    edges = np.append(np.append([window[0]] if before else [], times), window[1]).astype("int64")
    held = np.append([number(before[1])] if before else [], numbers)
    part["area"], part["width"] = float((held * np.diff(edges)).sum()), float(edges[-1] - edges[0])
    return part


def value_of(aggregate, parts):
    numeric = [part for part in parts if part["kind"] != "text"]
    whole = all(part["kind"] in ("i64", "bool") for part in numeric)
    pooled = pd.concat([part["numbers"] for part in numeric]) if numeric else pd.Series(dtype=float)
    if aggregate == "count":
        return sum(part["count"] for part in parts)
    if aggregate == "first":
        return min(parts, key=lambda part: part["first"][0])["first"][1]
    if aggregate == "last":
        return max(reversed(parts), key=lambda part: part["last"][0])["last"][1]
    if pooled.empty:
        return None
    if aggregate in ("min", "max"):
        found = pooled.min() if aggregate == "min" else pooled.max()
        only = {part["kind"] for part in numeric}
        return bool(found) if only == {"bool"} else found
    if aggregate == "mean":
        return pooled.mean()
    if aggregate == "sum":
        return int(pooled.sum()) if whole else pooled.sum()
    if aggregate == "stddev":
        return pooled.std() if len(pooled) > 1 else None
    if aggregate.startswith("p"):
        return np.quantile(pooled.to_numpy(), float(aggregate[1:]) / 100)
    if aggregate == "twa":
        return sum(part["area"] for part in numeric) / sum(part["width"] for part in numeric)
    found = [part[aggregate] for part in numeric if aggregate in part]
    return sum(found) if found else None


def passes(where, kind, value):
    if where is None:
        return True
    if where == "value > 20.5":
        return kind in ("f64", "i64") and value > 20.5
    if where == "value >= 2 and value < 30":
        return kind in ("f64", "i64") and 2 <= value < 30
    if where == "value != 'run'":
        return kind == "text" and value != "run"
    raise ValueError(where)


def expected(data, question):
    """Rows of (head, start in ns, values) in order."""
    start, end = question["range"]
    edges = starts_of(question["every"], question["tz"], start, end)
    groups = {}
    for path in sorted(data, key=lambda path: path.split("/")):
        if not any(path == p or (p.endswith("/**") and path.startswith(p[:-2])) for p in question["match"]):
            continue
        kind, rows = data[path]
        rows = [row for row in rows if passes(question["where"], kind, row[1])]
        times = np.array([time for time, _ in rows], dtype="int64")
        inside = (times >= start) & (times < end)
        if not inside.any():
            continue
        by = question["by"]
        segments = path.split("/")
        head = (path,) if by is None else tuple(
            segments[key - 1] if key <= len(segments) else None for key in by)
        buckets = groups.setdefault(head, {})
        for at in range(len(edges) - 1):
            low, high = max(edges[at], start), min(edges[at + 1], end)
            first, behind = np.searchsorted(times, [low, high])
            if first < behind:
                before = rows[first - 1] if first > 0 else None
                part = part_of(kind, rows[first:behind], edges[at], edges[at + 1], before, (low, high))
                buckets.setdefault(edges[at], []).append(part)
    answer = []
    order = groups if question["by"] is None else sorted(
        groups, key=lambda head: tuple((text is not None, text or "") for text in head))
    for head in order:
        rows = {at: [value_of(name, parts) for name in question["agg"]] for at, parts in groups[head].items()}
        sizes = {at: [part["count"] for part in parts] for at, parts in groups[head].items()}
        rows = fill(rows, edges[:-1], question)
        found = sorted(rows.items(), reverse=question["order"] == "desc")
        if question["limit"]:
            found = found[:question["limit"]]
        answer += [(head, at, values, groups[head].get(at), sizes.get(at)) for at, values in found]
    return answer


def fill(rows, starts, question):
    kind, longest = question["fill"], question["fill-max"]
    if kind == "none":
        return rows
    known, filled = sorted(rows), {}
    for at in starts:
        if at in rows:
            filled[at] = rows[at]
            continue
        before = max((k for k in known if k < at), default=None)
        after = min((k for k in known if k > at), default=None)
        values = [None] * len(question["agg"])
        if kind == "previous" and before is not None and (longest is None or at - before <= longest):
            values = list(rows[before])
        if kind == "linear" and None not in (before, after) and (longest is None or after - before <= longest):
            share = (at - before) / (after - before)
            for column, (low, high) in enumerate(zip(rows[before], rows[after])):
                if any(isinstance(end, (bool, str, np.bool_)) or end is None for end in (low, high)):
                    continue
                values[column] = low + (high - low) * share
        if "count" in question["agg"]:
            values[question["agg"].index("count")] = 0
        filled[at] = values
    return filled


def url(question, node, token):
    fields = [("match", pattern) for pattern in question["match"]]
    fields += [("from", question["range"][0]), ("to", question["range"][1]), ("every", question["every"])]
    fields += [("agg", ",".join(question["agg"])), ("fill", question["fill"]), ("order", question["order"])]
    for name in ("tz", "where", "limit", "top", "bottom"):
        if question[name]:
            fields.append((name, question[name]))
    if question["by"] is not None:
        fields.append(("by", ",".join(map(str, question["by"])) or "all"))
    if question["fill-max"]:
        fields.append(("fill-max", f"{question['fill-max']}ns"))
    fields += [("node", node), ("consistency", f"at-least={token}"), ("format", "json"), ("time", "ns")]
    return "/api/v1/range?" + urllib.parse.urlencode(fields)


def answered(service, question, node, token):
    body, _ = service.open(url(question, node, token))
    document = json.loads(body)
    rows = []
    for one in document["series" if question["by"] is None else "groups"]:
        head = (one["path"],) if question["by"] is None else tuple(one["group"].values())
        columns = [one[name] for name in question["agg"]]
        rows += [(head, at, list(values)) for at, *values in zip(one["bucket_starts"], *columns)]
    return rows, body


def alike(name, found, wanted, parts):
    if wanted is None or found is None:
        return wanted is None and found is None
    if isinstance(wanted, (str, bool, np.bool_)):
        return found == wanted
    pooled = [number for part in parts or [] if part["kind"] != "text" for number in part["numbers"]]
    if name[0] == "p" and len(pooled) > EXACT_VALUES_MAX:
        share = float(name[1:]) / 100
        below, through = np.mean(np.array(pooled) < found), np.mean(np.array(pooled) <= found)
        return below - 0.005 < share < through + 0.005
    return math.isclose(found, float(wanted), rel_tol=1e-9, abs_tol=1e-9)


def ranked(question, wanted, found):
    """The rows that are best by their first aggregate. Of those that are as good as equal any may be there."""
    numbers = [row for row in wanted if isinstance(row[2][0], (int, float, np.number, np.bool_))]
    most, is_top = (question["top"], True) if question["top"] else (question["bottom"], False)
    best = sorted(numbers, key=lambda row: float(row[2][0]), reverse=is_top)[:most]
    by_place = {row[:2]: row for row in numbers}
    places = [row[:2] for row in found]
    if len(set(places)) == len(best) == len(places) and all(
            place in by_place and math.isclose(float(by_place[place][2][0]), float(row[2][0]), rel_tol=1e-9, abs_tol=1e-9)
            for place, row in zip(places, best)):
        return [by_place[place] for place in places]
    return best


def compare(service, data, question, nodes, token):
    everything = expected(data, question)
    bodies = set()
    for node in nodes:
        found, body = answered(service, question, node, token)
        wanted = ranked(question, everything, found) if question["top"] or question["bottom"] else everything
        same = [(head, at) for head, at, _ in found] == [(head, at) for head, at, *_ in wanted]
        if not same:
            missing = [row[:2] for row in wanted if row[:2] not in [f[:2] for f in found]][:3]
            extra = [f[:2] for f in found if f[:2] not in [row[:2] for row in wanted]][:3]
            raise SystemExit(f"node {node}: {question}\n{len(found)} rows, expected {len(wanted)}; "
                             f"missing {missing}, extra {extra}")
        for (head, at, values), (_, _, right, parts, _) in zip(found, wanted):
            for name, value, want in zip(question["agg"], values, right):
                if not alike(name, value, want, parts):
                    raise SystemExit(f"node {node}: {question}\n{head} at {at}: {name} is {value}, expected {want}")
        document = json.loads(body)
        for own in ("replica", "applied", "age_ms", "token"):
            del document[own]
        bodies.add(json.dumps(document))
    if len(bodies) > 1:
        raise SystemExit(f"the nodes answer differently: {question}")
    return len(wanted) * len(question["agg"])


def questions(seed, data, count):
    rng, own = random.Random(seed + 1), f"oracle-{seed}"
    recorded_paths = [path for path in data if path.startswith("recorded-")]
    for at in range(count):
        every = rng.choice(["10m", "47m", "6h", "1d", "1w", "1mo", "1y", "all"])
        tz = rng.choice([None, "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
        if every in ("10m", "47m", "6h"):
            tz = None
        match = [f"{own}/{text}" for text in rng.choice(
            [["**"], ["a/**"], ["b/one/i64", "a/**"], ["a/one/f64"], ["many/**"]])]
        low = pd.Timestamp(rng.choice(["2025-03-27", "2025-10-23", "2025-03-29T21:00", "2025-10-25T20:00",
                                       "2025-06-01"]), tz="UTC").value + rng.randrange(7200) * NS
        high = low + rng.choice([86_400, 200_000, 5 * 86_400, 40 * 86_400]) * NS
        if recorded_paths and rng.random() < 0.3:
            path = rng.choice(recorded_paths)
            match, times = [path], [time for time, _ in data[path][1]]
            low, high = times[rng.randrange(len(times) // 2)], times[-1] + rng.randrange(2) * NS
        if every in ("10m", "47m"):
            high = min(high, low + 3 * 86_400 * NS)
        fill = rng.choice(["none", "none", "null", "previous", "linear"])
        longest = rng.choice([None, None, 3 * 3600 * NS, 86_400 * NS])
        agg = rng.sample(AGGREGATES, rng.randrange(1, 6)) if at >= 40 else AGGREGATES
        # Percentiles of many values are estimated, which may change places.
        rank = rng.choice([None, None, "top", "bottom"]) if agg[0][0] != "p" else None
        yield {
            "top": None, "bottom": None, **({rank: rng.choice([1, 5, 40])} if rank else {}),
            "match": match, "range": (low, high), "every": every, "tz": tz,
            "agg": agg,
            "fill": fill, "fill-max": longest if fill in ("previous", "linear") else None,
            "by": rng.choice([None, None, None, [], [2], [4], [2, 3], [9]]),
            "where": rng.choice([None, None, None, "value > 20.5", "value >= 2 and value < 30", "value != 'run'"]),
            "limit": rng.choice([None, None, 1, 7]), "order": rng.choice(["asc", "desc"]),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--query-app", required=True)
    parser.add_argument("--nodes", required=True)
    parser.add_argument("--recordings")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--questions", type=int, default=300)
    arguments = parser.parse_args()
    service = Service(arguments.query_app)
    try:
        readings = generated(arguments.seed) + recorded(arguments.recordings, arguments.seed)
        token = write(service, readings)
        data = series_of(readings)
        values = 0
        for question in questions(arguments.seed, data, arguments.questions):
            values += compare(service, data, question, arguments.nodes.split(","), token)
        nodes = len(arguments.nodes.split(","))
        print(f"{arguments.questions} questions, {values} values, equal on {nodes} nodes and to pandas "
              f"{pd.__version__}; {len(readings)} readings of {len(data)} series, seed {arguments.seed}")
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
