"""A page and a health check, served by Flask."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from Flask\n"


@app.get("/healthz")
def healthz():
    return {"status": "ok"}


if __name__ == "__main__":
    # Not on loopback alone: who asks comes from outside of the VM. IPv4: Volant's kernel has no IPv6.
    app.run(host="0.0.0.0", port=5000)
