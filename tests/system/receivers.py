"""Receivers of completion callbacks: a webhook server and a listener over gRPC, both steered by the test."""
import http.server
import queue
import ssl
import threading
from concurrent import futures

import grpc

SECONDS = 20


class Told:
    """One request that a webhook got."""

    def __init__(self, path, headers, body):
        self.path = path
        self.headers = headers
        self.body = body


class Webhook:
    """An HTTP server on loopback. `answers` are given in turn, the last one for ever: a status, a (status, location), or
    an Event that is waited for before 200 is answered."""

    def __init__(self, *answers, certificate=None):
        self.answers = list(answers) or [200]
        self.requests = queue.Queue()
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.requests.put(Told(self.path, self.headers, body))
                receiver.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def answer(self, handler):
        with self.lock:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        location = None
        if isinstance(answer, threading.Event):
            answer.wait(SECONDS)
            answer = 200
        elif isinstance(answer, tuple):
            answer, location = answer
        try:
            handler.send_response(answer)
            if location:
                handler.send_header("Location", location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        except OSError:
            pass  # who asked has given up

    def url(self, path="/"):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def told(self, seconds=SECONDS):
        """The next request."""
        return self.requests.get(timeout=seconds)

    def close(self):
        for answer in self.answers:
            if isinstance(answer, threading.Event):
                answer.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Listener:
    """A futured.v1.CompletionListener on a unix socket; with a certificate, over TLS on a port of loopback."""

    def __init__(self, words, path, certificate=None):
        self.words = words
        self.address = f"unix:{path}"
        self.refusals = []  # status codes to answer with, in turn; then OK
        self.completions = queue.Queue()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        method = grpc.unary_unary_rpc_method_handler(
            self._completed,
            request_deserializer=words.Completion.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        handlers = {"Completed": method}
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("futured.v1.CompletionListener", handlers)]
        )
        if certificate:
            chain, key = (file.read_bytes() for file in certificate)
            self.port = self.server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, chain)]))
        else:
            self.server.add_insecure_port(self.address)
        self.server.start()

    def _completed(self, completion, context):
        self.completions.put(completion)
        if self.refusals:
            context.abort(self.refusals.pop(0), "not now")
        return self.words.CompletionAck()

    def told(self, seconds=SECONDS):
        return self.completions.get(timeout=seconds)

    def close(self):
        self.server.stop(None).wait()
