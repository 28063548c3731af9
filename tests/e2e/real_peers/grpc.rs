//! gRPC's own library as client and as endpoint, and grpcurl, which speaks it by Go's.

use std::{fs, path::Path, process::Output};

use super::peer::{Peer, output, python, python_program};
use crate::e2e::harness::{Ca, Setup, Weir, until};

/// Echoes messages; `Hang` says on its output when it is cancelled.
const SERVER: &str = r#"
import sys, threading, grpc
from concurrent import futures

def unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request

def repeat(request, context):
    for _ in range(3):
        yield request

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
            "/test.Echo/Repeat": grpc.unary_stream_rpc_method_handler(repeat),
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

fn server(log: &Path) -> Peer {
    Peer::start(log, |address| {
        let mut server = python(SERVER);
        server.arg(address.to_string());
        server
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_streams_and_failures_pass() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let server = server(&log);
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

const SERVICE: &str = r#"
syntax = "proto3";
package test;
message Text { string text = 1; }
service Echo {
  rpc Unary(Text) returns (Text);
  rpc Repeat(Text) returns (stream Text);
  rpc Stream(stream Text) returns (stream Text);
  rpc Fail(Text) returns (Text);
  rpc Hang(Text) returns (Text);
  rpc None(Text) returns (Text);
}
"#;

/// grpcurl's answer to these arguments; what it has to send stands among them.
fn grpcurl(folder: &Path, arguments: &[&str]) -> Output {
    python_program("grpcurl").args(["-proto", "echo.proto"]).args(arguments).current_dir(folder).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_calls_and_is_told_of_failures() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let log = folder.path().join("server.log");
    let server = server(&log);
    let config = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "echo.pem", key = "echo.key" }}] }}
        [[routes]]
        name = "hang"
        match = {{ path = "/test.Echo/Hang", headers = {{ x-patience = "ours" }} }}
        cluster = "echo"
        timeout = "500ms"
        [[routes]]
        name = "echo"
        cluster = "echo"
        [clusters.echo]
        endpoints = ["{}"]
        http2 = true
        "#,
        server.address
    );
    let setup = Setup::new(&config).certificate("echo", &ca.issue(&["echo.test"]));
    let weir = setup.file("ca.pem", ca.pem()).file("echo.proto", SERVICE).start().await;
    let (web, secure) = (weir.web().to_string(), weir.listener("secure").to_string());
    let words = |text: &[u8]| String::from_utf8_lossy(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = |arguments: &[&str], method: &str| {
        let arguments = [&["-plaintext"], arguments, &[&web, method]].concat();
        grpcurl(weir.folder(), &arguments)
    };
    let said = plain(&["-v", "-d", r#"{ "text": "weir" }"#], "test.Echo/Unary");
    let told = words(&said.stdout);
    assert!(said.status.success() && told.contains(r#"{ "text": "weir" }"#), "{said:?}");
    assert!(told.contains("Response trailers received: x-length: 6"), "{told}");
    let said = plain(&["-d", r#"{ "text": "a" }"#], "test.Echo/Repeat");
    assert_eq!(words(&said.stdout), [r#"{ "text": "a" }"#; 3].join(" "), "{said:?}");
    let said = plain(&["-d", r#"{ "text": "a" } { "text": "b" }"#], "test.Echo/Stream");
    assert_eq!(words(&said.stdout), r#"{ "text": "a" } { "text": "b" }"#, "{said:?}");
    let trusted = ["-cacert", "ca.pem", "-authority", "echo.test", "-d", r#"{ "text": "tls" }"#, &secure];
    let said = grpcurl(weir.folder(), &[&trusted[..], &["test.Echo/Unary"]].concat());
    assert_eq!(words(&said.stdout), r#"{ "text": "tls" }"#, "{said:?}");
    for (arguments, method, failure) in [
        (&[][..], "test.Echo/Fail", "ERROR: Code: NotFound Message: none of these"),
        (&[], "test.Echo/None", "ERROR: Code: Unimplemented Message: Method not found!"),
        (
            &["-rpc-header", "x-patience: ours"],
            "test.Echo/Hang",
            "ERROR: Code: DeadlineExceeded Message: deadline exceeded",
        ),
    ] {
        let said = plain(arguments, method);
        assert_eq!(words(&said.stderr), failure, "{said:?}");
        assert!(!said.status.success());
    }
    let cancelled = || fs::read_to_string(&log).unwrap().matches("cancelled").count();
    until("the call to be cancelled at the endpoint", || cancelled() == 1).await;
    // The deadline that it tells is its own.
    let said = plain(&["-max-time", "1"], "test.Echo/Hang");
    assert!(words(&said.stderr).contains("Code: DeadlineExceeded"), "{said:?}");
    until("the other call to be cancelled at the endpoint", || cancelled() == 2).await;
}
