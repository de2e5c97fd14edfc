"""edit_trailer.py CATALOG TAG=HEX ...: replaces fields of a catalog's trailer, with right checksums, and adds one with
+TAG=HEX; see treering-catalog(5)."""
import hashlib, os, struct, subprocess, sys

path = sys.argv[1]
with open(path, "rb") as file:
    data = file.read()
assert data[-8:] == b"TRCATEND"
offset = struct.unpack("<Q", data[-16:-8])[0]
_, number, size, stored = struct.unpack("<4sIII", data[offset:offset + 16])
body = data[offset + 32:offset + 32 + stored]
if stored != size:
    body = subprocess.run(["zstd", "-dcq"], input=body, stdout=subprocess.PIPE, check=True).stdout
head, rest = body[:12], body[12:]
fields = []
while rest:
    tag, count = struct.unpack("<HI", rest[:6])
    fields.append([tag, rest[6:6 + count]])
    rest = rest[6 + count:]
for argument in sys.argv[2:]:
    tag, value = argument.split("=")
    found = [field for field in fields if field[0] == int(tag)]
    if found and not tag.startswith("+"):
        found[0][1] = bytes.fromhex(value)
    else:
        fields.append([int(tag), bytes.fromhex(value)])
content = head + b"".join(struct.pack("<HI", tag, len(value)) + value for tag, value in fields)
header = struct.pack("<4sIII", b"TRF1", number, len(content), len(content))
frame = header + hashlib.sha256(header + content).digest()[:16] + content
with open(path + ".new", "wb") as file:
    file.write(data[:offset] + frame + struct.pack("<Q", offset) + b"TRCATEND")
os.replace(path + ".new", path)
