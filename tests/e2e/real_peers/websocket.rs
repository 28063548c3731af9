//! WebSocket between libraries of two languages.

use super::peer::{Peer, node, output, python};
use crate::e2e::harness::{Weir, eventually};

const NODE_SERVER: &str = r#"
const { WebSocketServer } = require("ws");
const [host, port] = process.argv[1].split(":");
const server = new WebSocketServer({ host, port: Number(port), perMessageDeflate: true });
server.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
"#;

const PYTHON_CLIENT: &str = r#"
import sys
from websockets.sync.client import connect

with connect(f"ws://{sys.argv[1]}/chat", max_size=None) as socket:
    for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
        for message in ("x" * size, b"y" * size):
            socket.send(message)
            assert socket.recv() == message, size
    assert socket.ping().wait(30)
print(socket.close_code)
"#;

const PYTHON_SERVER: &str = r#"
import sys
from websockets.sync.server import serve

def echo(socket):
    for message in socket:
        socket.send(message)

host, port = sys.argv[1].split(":")
with serve(echo, host, int(port), max_size=None) as server:
    server.serve_forever()
"#;

const NODE_CLIENT: &str = r#"
const { WebSocket } = require("ws");
const socket = new WebSocket(`ws://${process.argv[1]}/chat`);
const sizes = [0, 1, 125, 126, 65535, 65536, 1000000];
socket.on("open", () => socket.send("x".repeat(sizes[0])));
socket.on("message", (data) => {
  if (data.length !== sizes.shift()) throw new Error(`an echo of ${data.length}`);
  if (sizes.length > 0) socket.send("x".repeat(sizes[0]));
  else socket.ping();
});
socket.on("pong", () => socket.close(1000));
socket.on("close", (code) => console.log(code));
"#;

/// Takes tunnels over HTTP/2.
const NODE_HTTP2_SERVER: &str = r#"
const { WebSocket } = require("ws");
const [host, port] = process.argv[1].split(":");
const server = require("http2").createServer({ settings: { enableConnectProtocol: true } });
server.on("stream", (stream, headers) => {
  if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") return stream.respond({ ":status": 400 }, { endStream: true });
  stream.respond({ ":status": 200 });
  const socket = new WebSocket(null, undefined, { autoPong: true });
  socket._isServer = true;
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, skipUTF8Validation: false, allowSynchronousEvents: true });
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
server.listen(Number(port), host);
"#;

/// Opens one over HTTP/2.
const NODE_HTTP2_CLIENT: &str = r#"
const { WebSocket } = require("ws");
const session = require("http2").connect(`http://${process.argv[1]}`);
session.on("remoteSettings", (settings) => {
  if (!settings.enableConnectProtocol) throw new Error("it takes no tunnels");
  const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat", "sec-websocket-version": "13" });
  stream.on("response", (headers) => {
    if (headers[":status"] !== 200) throw new Error(`status ${headers[":status"]}`);
    const socket = new WebSocket(null, undefined, {});
    socket._isServer = false;
    socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, skipUTF8Validation: false, allowSynchronousEvents: true });
    const sizes = [0, 1, 125, 126, 65535, 65536, 1000000];
    socket.on("message", (data) => {
      if (data.length !== sizes.shift()) throw new Error(`an echo of ${data.length}`);
      if (sizes.length > 0) socket.send("x".repeat(sizes[0]));
      else { console.log(1000); socket.close(1000); }
    });
    socket.on("close", () => session.close());
    socket.send("x".repeat(sizes[0]));
  });
});
"#;

async fn between(server: &str, client: std::process::Command, cluster: &str, status: u16) {
    let folder = tempfile::tempdir().unwrap();
    let script = server.to_owned();
    let server = Peer::start(&folder.path().join("server.log"), move |address| {
        let mut server = if script.contains("require") { node(&script) } else { python(&script) };
        server.arg(address.to_string());
        server
    });
    let weir = Weir::before_with(&[server.address], cluster).await;
    let web = weir.web().to_string();
    let mut client = client;
    let said = tokio::task::spawn_blocking(move || output(client.arg(web))).await.unwrap();
    assert_eq!(said.trim(), "1000");
    assert_eq!(weir.logged("/chat").await["status"], status);
    eventually("the tunnel to end", || async { (weir.metric("weir_tunnels").await == 0.0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_of_python_to_ws_of_node() {
    between(NODE_SERVER, python(PYTHON_CLIENT), "", 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ws_of_node_to_websockets_of_python() {
    between(PYTHON_SERVER, node(NODE_CLIENT), "", 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_of_node_to_websockets_of_python() {
    between(PYTHON_SERVER, node(NODE_HTTP2_CLIENT), "", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_of_node_on_both_sides() {
    between(NODE_HTTP2_SERVER, node(NODE_HTTP2_CLIENT), "http2 = true", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_of_python_to_http2_of_node() {
    between(NODE_HTTP2_SERVER, python(PYTHON_CLIENT), "http2 = true", 101).await;
}
