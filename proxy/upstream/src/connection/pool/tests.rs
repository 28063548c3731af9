use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    runtime::LocalOptions,
};

use super::*;
use crate::{cluster::Cluster, fixture};

/// A cluster of one endpoint that speaks HTTP/2, or would.
struct Stage {
    cluster: Arc<Cluster>,
    connector: Connector,
    listener: TcpListener,
}

impl Stage {
    async fn new(change: impl Fn(&mut weir_config::Cluster)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = fixture::cluster(&[1]);
        config.endpoints[0].address = listener.local_addr().unwrap();
        config.http2 = true;
        change(&mut config);
        let cluster = Cluster::build(&config, None);
        let connector = Connector::build(&config).unwrap().counted_by(&cluster);
        Self { cluster, connector, listener }
    }

    async fn acquire(&self, pools: &Pools, fresh: bool, within: Option<Duration>) -> Result<Lease, ConnectionError> {
        pools.acquire(&self.connector, &self.cluster.endpoints()[0], fresh, within, &Since::default()).await
    }

    /// The endpoint's side of a connection.
    async fn accepted(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build_local(LocalOptions::default()).unwrap().block_on(test);
}

async fn closed(mut side: TcpStream) {
    let mut said = Vec::new();
    let ended = timeout(Duration::from_secs(10), side.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "it stays open");
}

#[test]
fn idle_connections_of_http2_are_no_more_than_may_be() {
    run(async {
        let stage = Stage::new(|config| config.idle_connections = 2).await;
        let (pools, mut leases, mut sides) = (Pools::default(), Vec::new(), Vec::new());
        for _ in 0..4 {
            leases.push(stage.acquire(&pools, true, None).await.unwrap());
            sides.push(stage.accepted().await);
        }
        let kept = || pools.idle.borrow().values().map(|idle| idle.http2.len()).sum::<usize>();
        pools.sweep(Instant::now());
        assert_eq!(kept(), 4, "all are in use");
        leases.truncate(1);
        pools.sweep(Instant::now());
        assert_eq!(kept(), 3, "one in use, two idle");
        closed(sides.pop().unwrap()).await;
    });
}

#[test]
fn no_more_are_closed_than_are_to_make_room() {
    run(async {
        let stage = Stage::new(|_| {}).await;
        let (pools, mut leases) = (Pools::default(), Vec::new());
        let mut sides = Vec::new();
        for _ in 0..4 {
            leases.push(stage.acquire(&pools, true, None).await.unwrap());
            sides.push(stage.accepted().await);
        }
        leases.truncate(1);
        assert_eq!((pools.make_room(2), pools.make_room(2), pools.make_room(2)), (2, 1, 0));
        assert_eq!(pools.idle.borrow().values().map(|idle| idle.http2.len()).sum::<usize>(), 1, "the one in use");
    });
}

#[test]
fn what_single_clients_keep_is_closed_with_the_rest() {
    run(async {
        let stage = Stage::new(|_| {}).await;
        let pools = Pools::default();
        let own = pools.beginning_with(b"PROXY".to_vec());
        drop(stage.acquire(&own, false, None).await.unwrap());
        let side = stage.accepted().await;
        assert_eq!((pools.make_room(9), pools.make_room(9)), (1, 0));
        closed(side).await;
    });
}

/// So many ask at once, each within its time, for a connection that is never made.
async fn dials(stage: &Stage, times: &[Option<Duration>]) -> Vec<bool> {
    let (pools, mut asked) = (Rc::new(Pools::default()), Vec::new());
    for within in times {
        let (pools, endpoint) = (Rc::clone(&pools), Arc::clone(&stage.cluster.endpoints()[0]));
        let (connector, within) = (stage.connector.succeeded_by(stage.cluster.config()).unwrap(), *within);
        asked.push(tokio::task::spawn_local(async move {
            let dialled = Since::default();
            let error = pools.acquire(&connector, &endpoint, false, within, &dialled).await.unwrap_err();
            assert!(matches!(error, ConnectionError::ConnectTimeout), "{error:?}");
            dialled.get().is_some()
        }));
    }
    let mut dialled = Vec::new();
    for asked in asked {
        dialled.push(asked.await.unwrap());
    }
    dialled
}

#[test]
fn who_waits_for_a_connection_meets_what_its_maker_met() {
    run(async {
        let silent = |config: &mut weir_config::Cluster| {
            config.connect_timeout = Duration::from_millis(300);
            config.tls = Some(weir_config::UpstreamTls { ca: None, sni: None, verify: false, identity: None });
        };
        let stage = Stage::new(silent).await;
        assert_eq!(dials(&stage, &[None; 3]).await, [true, false, false]);
        let short = Some(Duration::from_millis(20));
        assert_eq!(dials(&stage, &[short, None]).await, [true, true], "the patience of one is not that of another");
    });
}

#[test]
fn the_wait_for_a_place_is_no_time_of_a_dial() {
    run(async {
        let stage = Stage::new(|config| {
            config.http2 = false;
            config.limits.connections = Some(1);
        })
        .await;
        let pools = Rc::new(Pools::default());
        let first = stage.acquire(&pools, true, None).await.unwrap();
        let (dialled, endpoint) = (Since::default(), &stage.cluster.endpoints()[0]);
        let mut second = pin!(pools.acquire(&stage.connector, endpoint, true, None, &dialled));
        let waiting = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(waiting && dialled.get().is_none());
        let freed = Instant::now();
        drop(first);
        let lease = second.await.unwrap();
        assert!(dialled.get().is_some_and(|since| since >= freed) && !lease.reused);
        assert!(pools.kept(&stage.connector, endpoint).is_none());
    });
}
