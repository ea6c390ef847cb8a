"""ClickHouse within this process, as chdb, in the folder named on the command line."""

import pathlib
import sys

from chdb import session

from serve import serve

SETTINGS = "fsync_after_insert = 1, fsync_part_directory = 1"


class ClickHouse:
    def __init__(self, folder):
        self.session = session.Session(folder)
        self.parts = []

    def text(self, sql):
        return str(self.session.query(sql, "CSV"))

    def create(self, columns):
        self.session.query("CREATE DATABASE bench ENGINE = Atomic")
        self.session.query("USE bench")
        self.session.query(f"CREATE TABLE load ({columns}) ENGINE = MergeTree ORDER BY (device, ts) SETTINGS {SETTINGS}")
        return self.text("SELECT version()").strip().strip('"')

    def prepare(self, files, columns, folder):
        """Writes each file of CSV in ClickHouse's own form."""
        names = self.text("SELECT name || ' ' || type FROM system.columns WHERE database = 'bench' AND table = 'load' ORDER BY position")
        structure = ", ".join(line.strip('"') for line in names.splitlines()).replace("'", "\\'")
        for file in files:
            part = pathlib.Path(folder) / (pathlib.Path(file).name + ".native")
            self.session.query(f"INSERT INTO FUNCTION file('{part}', Native, '{structure}') SELECT * FROM file('{file}', CSV, '{structure}')")
            self.parts.append(part)

    def load(self):
        for part in self.parts:
            self.session.query(f"INSERT INTO load SELECT * FROM file('{part}', Native)")

    def settle(self):
        self.session.query("OPTIMIZE TABLE load FINAL")
        return int(self.text("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'bench' AND table = 'load'"))

    def connect(self):
        return self.session

    def answer(self, connection, sql):
        connection.query(sql, "ArrowStream").bytes()

    def close(self):
        self.session.close()


serve(ClickHouse(sys.argv[1]))
