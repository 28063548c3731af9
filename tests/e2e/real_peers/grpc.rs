//! gRPC's own library as client and as endpoint.

use std::fs;

use super::peer::{Peer, output, python};
use crate::e2e::harness::{Weir, until};

/// Echoes messages; `Hang` says on its output when it is cancelled.
const SERVER: &str = r#"
import sys, threading, grpc
from concurrent import futures

def unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request

def stream(requests, context):
    yield from requests

def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "none of these")

def hang(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    over.wait()
    print("cancelled")

class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        return {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Echo/Stream": grpc.stream_stream_rpc_method_handler(stream),
            "/test.Echo/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/test.Echo/Hang": grpc.unary_unary_rpc_method_handler(hang),
        }.get(call.method)

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Echo(),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import sys, queue, grpc

channel = grpc.insecure_channel(sys.argv[1])

def failure(method):
    try:
        channel.unary_unary(method)(b"x", timeout=30)
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"

for size in (0, 5, 100_000, 3_000_000):
    reply, call = channel.unary_unary("/test.Echo/Unary").with_call(b"x" * size, timeout=30)
    trailers = dict(call.trailing_metadata())
    assert reply == b"x" * size and trailers["x-length"] == str(size), (size, trailers)

said = queue.Queue()
echo = channel.stream_stream("/test.Echo/Stream")(iter(said.get, None), timeout=60)
for number in range(500):
    said.put(b"%d" % number)
    assert next(echo) == b"%d" % number
said.put(None)
assert next(echo, None) is None and echo.code() == grpc.StatusCode.OK
print(failure("/test.Echo/Fail"))
print(failure("/test.Echo/None"))
print(failure("/elsewhere/None"))
print(failure("/test.Echo/Hang"))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_streams_and_failures_pass() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let server = Peer::start(&log, |address| {
        let mut server = python(SERVER);
        server.arg(address.to_string());
        server
    });
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "hang"
        match = {{ path = "/test.Echo/Hang" }}
        cluster = "echo"
        timeout = "500ms"
        [[routes]]
        name = "echo"
        match = {{ path-prefix = "/test.Echo" }}
        cluster = "echo"
        [clusters.echo]
        endpoints = ["{}"]
        http2 = true
        "#,
        server.address
    ))
    .await;
    let web = weir.web().to_string();
    let said = tokio::task::spawn_blocking(move || output(python(CLIENT).arg(web))).await.unwrap();
    let said: Vec<&str> = said.lines().collect();
    let expected = [
        "NOT_FOUND none of these",
        "UNIMPLEMENTED Method not found!",
        "UNIMPLEMENTED 404 Not Found",
        "DEADLINE_EXCEEDED deadline exceeded",
    ];
    assert_eq!(said, expected);
    until("the call to be cancelled at the endpoint", || fs::read_to_string(&log).unwrap().contains("cancelled")).await;
}
