"""An HTTP server on loopback that passes requests on to another one, and makes troubles.

unreliable.py PORT HOST:PORT

The first component of the path is "TROUBLE-every-N": each N-th request gets the trouble. It is a status, "close" (the
connection, after the request was passed on), "half" (of the body), "twice" (the request is passed on two times),
"late" (the answer comes after a second), "longer" (than was asked for), or "moved". The rest is the path there.
"""
import http.client, http.server, sys, threading, time

counts = {}
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self, path, body):
        there = http.client.HTTPConnection(sys.argv[2])
        skipped = ("host", "connection", "content-length")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
        there.request(self.command, path, body, headers)
        answer = there.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def do(self):
        how, _, path = self.path[1:].partition("/")
        trouble, _, every = how.split("-")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            counts[how] = counts.get(how, 0) + 1
            due = counts[how] % int(every) == 0
        if due and (trouble.isdigit() or trouble == "moved"):
            status = 301 if trouble == "moved" else int(trouble)
            headers = {"Location": "http://127.0.0.1:1/"} if trouble == "moved" else {"Retry-After": "0"}
            return self.answer(status, headers, b"trouble")
        status, headers, content = self.pass_on("/" + path, body)
        if not due:
            return self.answer(status, headers, content)
        if trouble == "close":
            self.close_connection = True
            return
        if trouble == "half":
            self.close_connection = True
            return self.answer(status, headers, content, len(content) // 2)
        if trouble == "twice":
            status, headers, content = self.pass_on("/" + path, body)
        if trouble == "late":
            time.sleep(1)
        if trouble == "longer":
            content += b"x" * (1 << 20)
            headers["Content-Length"] = str(len(content))
        self.answer(status, headers, content)

    def answer(self, status, headers, content, count=None):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        size = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:count])

    do_GET = do_POST = do_DELETE = do_HEAD = do

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.daemon_threads = True
server.serve_forever()
