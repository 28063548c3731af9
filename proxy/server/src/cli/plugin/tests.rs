//! The commands against an admin address.

use std::{fs, future::pending, sync::Arc};

use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use weir_config::{AdminAddress as Address, SocketFile};
use weir_upstream::rollout::Steer;

use super::{super::AdminAddress, *};
use crate::admin::{Access, Answer, ApiError, BoxFuture, Control, Door, EndpointChange, Socket, Subject, Turns, serve};

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct Fake;

impl Control for Fake {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    fn status(&self) -> Value {
        json!({})
    }
    fn metrics(&self, _: &mut String) {}
    fn plugin_list(&self) -> Value {
        json!({ "plugins": [{ "name": "canary", "versions": [
            { "sha256": NEW, "current": true, "roles": ["router", "balancer"], "size": 40_000, "loaded": "2026-01-01T00:00:00Z" },
            { "sha256": OLD, "current": false, "roles": ["router"], "size": 100 },
        ]}]})
    }
    fn plugin_push(&self, name: String, component: Bytes, _: Turns) -> BoxFuture<'_, Answer> {
        assert!(component.starts_with(b"\0asm"));
        Box::pin(async move {
            match name.as_str() {
                "canary" => Ok(json!({ "name": name, "sha256": NEW, "previous": OLD })),
                _ => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no plugin {name}"))),
            }
        })
    }
    fn plugin_rollback(&self, name: String, version: Option<String>) -> BoxFuture<'_, Answer> {
        let sha256 = version.unwrap_or_else(|| OLD.to_owned());
        Box::pin(async move { Ok(json!({ "name": name, "sha256": sha256, "previous": null })) })
    }
    fn certificate_push(&self, _: String, _: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async { Ok(json!({})) })
    }
    fn endpoint(&self, cluster: String, address: String, change: EndpointChange) -> BoxFuture<'_, Answer> {
        drop((cluster, address, change));
        Box::pin(async { Ok(json!({})) })
    }
    fn rollout_list(&self) -> Value {
        json!({ "rollouts": [] })
    }
    fn rollout_order(&self, route: &str, order: Steer) -> Answer {
        Ok(json!({ "route": route, "order": format!("{order:?}") }))
    }
    fn acme_list(&self) -> Value {
        json!({})
    }
    fn acme_renew(&self, _: &str) -> Answer {
        Ok(json!({}))
    }
    fn state(&self, _: &Subject) -> Value {
        Value::Null
    }
    fn reload(&self) -> BoxFuture<'_, Answer> {
        Box::pin(async { Ok(json!({})) })
    }
}

async fn admin() -> AdminAddress {
    let wanted = Address::Tcp("127.0.0.1:0".parse().unwrap());
    let socket = Socket::bind(&wanted, &SocketFile::default()).unwrap();
    let address = Some(socket.to_string());
    let access = arc_swap::ArcSwap::from_pointee(Access::open(weir_config::AdminRole::Deploy, &[], &[]));
    let door = Door { name: "admin", wanted, socket, access, closing: CancellationToken::new() };
    tokio::spawn(serve(door.into(), Arc::new(Fake), pending()));
    AdminAddress { address, ..AdminAddress::default() }
}

struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("weir-cli-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_push_names_the_version_and_the_way_back() {
    let file = File::new("push.wasm", b"\0asm rest");
    let push = PluginCommand::Push { name: "canary".into(), file: file.0.clone(), admin: admin().await };
    assert_eq!(
        run(&push).await.unwrap(),
        "canary is now version bbbbbbbbbbbb\nthe way back: weir plugin rollback canary --to aaaaaaaaaaaa\n"
    );
}

#[tokio::test]
async fn a_refusal_is_the_servers_own_words() {
    let file = File::new("refused.wasm", b"\0asm rest");
    let push = PluginCommand::Push { name: "other".into(), file: file.0.clone(), admin: admin().await };
    assert_eq!(run(&push).await.unwrap_err().to_string(), "there is no plugin other");
}

#[tokio::test]
async fn what_is_not_wasm_is_not_sent() {
    let file = File::new("text.wasm", b"hello");
    let push = PluginCommand::Push { name: "canary".into(), file: file.0.clone(), admin: admin().await };
    assert!(run(&push).await.unwrap_err().to_string().ends_with("is not a WebAssembly component"));
}

#[tokio::test]
async fn a_list_is_a_table_or_json() {
    let admin = admin().await;
    let shown = run(&PluginCommand::List { json: false, admin: admin.clone() }).await.unwrap();
    assert_eq!(
        shown,
        "\
PLUGIN  VERSION        ROLES            SIZE    LOADED
canary  bbbbbbbbbbbb*  router,balancer  40 KiB  2026-01-01T00:00:00Z
canary  aaaaaaaaaaaa   router           1 KiB   -
* decides now
"
    );
    let json = run(&PluginCommand::List { json: true, admin }).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), Fake.plugin_list());
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_that_is_named() {
    let admin = admin().await;
    let back = PluginCommand::Rollback { name: "canary".into(), to: None, admin: admin.clone() };
    assert_eq!(run(&back).await.unwrap(), "canary is now version aaaaaaaaaaaa\n");
    let to = PluginCommand::Rollback { name: "canary".into(), to: Some("3f9a".into()), admin };
    assert_eq!(run(&to).await.unwrap(), "canary is now version 3f9a\n");
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = PluginCommand::List {
        json: false,
        admin: AdminAddress { address: Some(free.to_string()), ..AdminAddress::default() },
    };
    let error = run(&list).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("nothing answers at {free}: is weir running")), "{error}");
    let list = PluginCommand::List {
        json: false,
        admin: AdminAddress { address: Some("nonsense".into()), ..AdminAddress::default() },
    };
    assert!(run(&list).await.unwrap_err().to_string().contains("looks like 127.0.0.1:9901"));
}
