//! WebSocket between libraries of two languages.

use super::peer::{Peer, node, output, python};
use crate::e2e::harness::Weir;

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

async fn between(server: &str, client: std::process::Command) {
    let folder = tempfile::tempdir().unwrap();
    let script = server.to_owned();
    let server = Peer::start(&folder.path().join("server.log"), move |address| {
        let mut server = if script.contains("require") { node(&script) } else { python(&script) };
        server.arg(address.to_string());
        server
    });
    let weir = Weir::before(&[server.address]).await;
    let web = weir.web().to_string();
    let mut client = client;
    let said = tokio::task::spawn_blocking(move || output(client.arg(web))).await.unwrap();
    assert_eq!(said.trim(), "1000");
    assert_eq!(weir.logged("/chat").await["status"], 101);
    assert_eq!(weir.metric("weir_tunnels_total{cluster=\"web\",end=\"closed\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_of_python_to_ws_of_node() {
    between(NODE_SERVER, python(PYTHON_CLIENT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ws_of_node_to_websockets_of_python() {
    between(PYTHON_SERVER, node(NODE_CLIENT)).await;
}
