"""OpenStack Swift with its S3 API, on loopback: one proxy, and one server each for accounts, containers and objects.

Usage: swift_server.py DIRECTORY PORT; ends with its first server. The proxy listens on PORT. A second start with the
same directory finds what was stored.
"""

import os
import pathlib
import signal
import socket
import sys

from swift.common.ring import RingBuilder
from swift.common.wsgi import run_wsgi

directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
workers = 0
user = root
log_level = ERROR
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_testing = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
"""
for name in ["catch_errors", "listing_formats", "copy", "slo", "dlo", "versioned_writes"]:
    PROXY += f"[filter:{name}]\nuse = egg:swift#{name}\n"

STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
workers = 0
user = root
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(kind, text):
    file = directory / f"{kind}.conf"
    file.write_text(text)
    child = os.fork()
    if child == 0:
        # The end of the parent ends the servers, too.
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        sys.exit(run_wsgi(str(file), f"{kind}-server", {}))
    return child


(directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
(directory / "devices/d").mkdir(parents=True, exist_ok=True)
children = []
for kind in ["account", "container", "object"]:
    own = free_port()
    builder = RingBuilder(1, 1, 0)
    builder.add_dev(
        {"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": own, "device": "d",
         "replication_ip": "127.0.0.1", "replication_port": own, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{kind}.ring.gz"))
    children.append(start(kind, STORAGE.format(port=own, directory=directory, kind=kind)))
children.append(start("proxy", PROXY.format(port=port, directory=directory, secret=os.environ["SWIFT_SECRET"])))
os.wait()
