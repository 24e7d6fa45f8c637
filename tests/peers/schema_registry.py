"""Confluent's schema registry as far as its clients' reading goes: GET /schemas/ids/N and /subjects/S/versions/N over HTTP. The real one is in none of the public package
registries that the tests may use; what is tested here is leat's side of the protocol, not the server."""
import http.server
import json
import threading
import urllib.parse


class Registry:
    def __init__(self, port=0):
        self.schemas, self.asked, self.references, self.subjects = {}, [], {}, {}
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append(self.path)
                number = int(self.path.rsplit("/", 1)[1])
                if self.path.startswith("/subjects/"):
                    number = registry.subjects.get((urllib.parse.unquote(self.path.split("/")[2]), number))
                found = number in registry.schemas
                body = json.dumps({"schema": registry.schemas[number], "references": registry.references.get(number, [])} if found else {"error_code": 40403, "message": "Schema not found"}).encode()
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

    def add(self, schema, subject=None, references=()):
        """references: (name, subject) of version 1 each."""
        number = len(self.schemas) + 1
        self.schemas[number] = schema
        self.references[number] = [{"name": name, "subject": of, "version": 1} for name, of in references]
        self.subjects[subject, 1] = number
        return number

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
