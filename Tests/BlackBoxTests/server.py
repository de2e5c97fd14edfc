"""An HTTP or HTTPS server on loopback that writes down what it is sent, a line of JSON a request.

server.py PORT_FILE LOG_FILE [CERTIFICATE KEY]

The first component of the path says how it answers: ok, or a status, or "N-times-STATUS" (then ok), "limit-N" (the
longest body it takes), "hang" (not at all), "flood" (without end), "moved".
"""
import http.server, json, os, re, ssl, sys, threading, time

counts = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        request = {
            "method": self.command, "path": self.path, "body": body.decode("utf-8", "backslashreplace"),
            "bytes": length, "headers": {k.lower(): v for k, v in self.headers.items()}, "time": time.time(),
        }
        with open(sys.argv[2], "a") as log:
            log.write(json.dumps(request) + "\n")
        how = self.path.split("?")[0].split("/")[1]
        counts[how] = counts.get(how, 0) + 1
        if how == "hang":
            time.sleep(60)
            return
        if how == "flood":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        status, headers = 200, {}
        if how == "moved":
            status, headers = 301, {"Location": "/ok"}
        if match := re.fullmatch(r"(?:(\d+)-times-)?(\d\d\d)", how):
            if match[1] is None or counts[how] <= int(match[1]):
                status = int(match[2])
        if match := re.fullmatch(r"limit-(\d+)", how):
            headers["Ping-Body-Limit"] = match[1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"OK")

    do_GET = do_POST

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
# It ends with the test, whatever becomes of that.
threading.Timer(300, lambda: os._exit(0)).start()
server.serve_forever()
