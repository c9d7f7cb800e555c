"""What an erasure moves between client and store, as a proxy between them counts it."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import uuid

from workshop import OUTSIDE, ROOT, Home, measured, python

METHOD = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) /")
# Share of a full rewrite that may be moved, by case; see the goals of the erasure.
SHARE = {"parquet-snappy-bytes": 0.10, "parquet-snappy-bytes-redact": 0.02}


class Proxy:
    """Passes connections on and counts what goes through, headers included."""

    def __init__(self, host, port):
        self.target, self.lock = (host, port), threading.Lock()
        self.reset()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self):
        """Counts from 0 on."""
        self.sent, self.received, self.requests = 0, 0, {}

    def accept(self):
        """Serves until the program ends."""
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            for way in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.carry, args=way, daemon=True).start()

    def carry(self, source, target, is_sent):
        """One direction of one connection."""
        try:
            while piece := source.recv(1 << 18):
                self.count(piece, is_sent)
                target.sendall(piece)
        except OSError:
            pass
        for end in (target, source):
            try:
                end.shutdown(socket.SHUT_WR if end is target else socket.SHUT_RD)
            except OSError:
                pass

    def count(self, piece, is_sent):
        """A request begins a piece of its own, since the client waits for the last answer."""
        with self.lock:
            if not is_sent:
                self.received += len(piece)
                return
            self.sent += len(piece)
            if (begun := METHOD.match(piece)) is not None:
                name = begun[1].decode()
                self.requests[name] = self.requests.get(name, 0) + 1


@contextlib.contextmanager
def server():
    """What reaches a running server; one that was not running before is stopped again."""
    services = str(ROOT / "scripts/services")
    was_running = subprocess.run([services, "status", "s3"], capture_output=True).returncode == 0
    subprocess.run([services, "start", "s3"], check=True, capture_output=True)
    told = subprocess.run([services, "env", "s3"], check=True, capture_output=True, text=True)
    try:
        yield {**os.environ, **dict(re.findall(r"export (\w+)=(\S+)", told.stdout))}
    finally:
        if not was_running:
            subprocess.run([services, "stop", "s3"], check=True, capture_output=True)


def measure_s3(case, count, program, environment):
    """Erases on the server, once: bytes do not depend on the machine's load."""
    host, port = environment["LACUNA_TEST_S3_ENDPOINT"].removeprefix("http://").split(":")
    bucket = f"bench-{uuid.uuid4().hex[:12]}"
    script, key = str(OUTSIDE / "bench_peers.py"), f"{bucket}/lake/{case.object.name}"
    subprocess.run([python(), script, "upload", case.object, key, "-", "-"], check=True,
                   env=environment)
    proxy = Proxy(host, int(port))
    more = f'[s3]\nendpoint = "http://127.0.0.1:{proxy.port}"\nregion = "us-east-1"\n'
    home = Home(program, case.folder / "home", case.dataset(f"s3://{bucket}/lake/"), more)
    home.environment |= {"AWS_ACCESS_KEY_ID": environment["LACUNA_TEST_S3_ACCESS_KEY"],
                         "AWS_SECRET_ACCESS_KEY": environment["LACUNA_TEST_S3_SECRET_KEY"]}
    home.run("index")
    plan = home.approved(case.subjects(count))
    proxy.reset()
    run = measured(home.command("erase", plan, "--quiet"), env=home.environment)
    subprocess.run([python(), script, "remove", bucket, "-", "-", "-"], check=True,
                   env=environment)
    return told(case, count, run, proxy, home.efforts()[-1:])


def told(case, count, run, proxy, efforts):
    """Prints and returns the figures."""
    size = case.object.stat().st_size
    moved = proxy.sent + proxy.received
    share, limit = moved / (2 * size), SHARE.get(case.name)
    goals = [] if limit is None or count != 1 else [
        {"goal": f"share of a full rewrite: at most {limit}", "measured": share,
         "is_met": share <= limit},
        {"goal": "MiB resident: at most 64", "measured": run["peak_mib"],
         "is_met": run["peak_mib"] <= 64}]
    print(f"\n{case.name} on S3: {size / 1e6:,.0f} MB, {count:,} subjects")
    print(f"  sent {proxy.sent / 1e6:,.1f} MB, received {proxy.received / 1e6:,.1f} MB: "
          f"{share:.1%} of downloading and uploading all; requests {proxy.requests}; "
          f"{run['cpu_seconds']:.2f} CPU s, {run['peak_mib']:.0f} MiB; {efforts}")
    for goal in goals:
        print(f"  {'met   ' if goal['is_met'] else 'MISSED'} {goal['goal']} "
              f"(measured {goal['measured']:.3g})", flush=True)
    return {"case": case.name, "subjects": count, "size_bytes": size, "sent_bytes": proxy.sent,
            "received_bytes": proxy.received, "requests": proxy.requests, **run,
            "effort": efforts[-1][1] if efforts else None, "goals": goals}
