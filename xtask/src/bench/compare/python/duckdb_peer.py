"""DuckDB: a database in a file, named on the command line."""

import pathlib
import sys

import duckdb

from serve import serve


class DuckDb:
    def __init__(self, file):
        self.file = pathlib.Path(file)
        self.connection = duckdb.connect(file)
        self.parts = []

    def create(self, columns):
        self.connection.execute(f"CREATE TABLE load ({columns})")
        return duckdb.__version__

    def prepare(self, files, columns, folder):
        """Writes each file of CSV as Parquet."""
        types = dict(column.strip().split(" ", 1) for column in columns.split(","))
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
        for file in files:
            part = pathlib.Path(folder) / (pathlib.Path(file).name + ".parquet")
            duckdb.sql(f"COPY (FROM read_csv('{file}', header = false, columns = {{{columns}}})) TO '{part}' (FORMAT parquet)")
            self.parts.append(part)

    def load(self):
        for part in self.parts:
            self.connection.execute(f"COPY load FROM '{part}' (FORMAT parquet)")

    def settle(self):
        self.connection.execute("CHECKPOINT")
        return self.file.stat().st_size

    def connect(self):
        return self.connection.cursor()

    def answer(self, connection, sql):
        connection.execute(sql).to_arrow_table()

    def text(self, sql):
        rows = self.connection.execute(sql).fetchall()
        return "\n".join(",".join(map(repr, row)) for row in rows)

    def close(self):
        self.connection.close()


serve(DuckDb(sys.argv[1]))
