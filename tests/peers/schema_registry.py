"""Confluent's schema registry as far as its clients' reading goes: GET /schemas/ids/N over HTTP. The real one is in none of the public package
registries that the tests may use; what is tested here is leat's side of the protocol, not the server."""
import http.server
import json
import threading


class Registry:
    def __init__(self, port=0):
        self.schemas, self.asked = {}, []
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append(self.path)
                number = int(self.path.rsplit("/", 1)[1])
                found = self.path.startswith("/schemas/ids/") and number in registry.schemas
                body = json.dumps({"schema": registry.schemas[number]} if found else {"error_code": 40403, "message": "Schema not found"}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, schema):
        self.schemas[len(self.schemas) + 1] = schema
        return len(self.schemas)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
