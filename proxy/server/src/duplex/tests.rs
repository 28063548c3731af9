//! Two pairs of sockets with a duplex between them.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (outer, listener.accept().await.unwrap().0)
}

fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number % 251) as u8).collect()
}

/// Runs one beside a client and an endpoint; gives what passed and how it ended.
async fn between<C, E>(
    client: impl FnOnce(TcpStream) -> C,
    endpoint: impl FnOnce(TcpStream) -> E,
) -> (Moved, Result<(), Broken>)
where
    C: Future<Output = ()>,
    E: Future<Output = ()>,
{
    let ((outer, mut inner), (far, mut near)) = (pair().await, pair().await);
    let (moved, pipes) = (Moved::default(), Pipes::default());
    let (idle, ended) = (Duration::from_secs(60), RefCell::new(None));
    let running = async {
        let result = run(&mut inner, &mut near, &moved, &pipes, idle).await;
        drop((inner, near));
        *ended.borrow_mut() = Some(result);
    };
    tokio::join!(running, client(outer), endpoint(far));
    (moved, ended.into_inner().unwrap())
}

#[tokio::test]
async fn small_and_large_pass_whole_and_both_ways() {
    for length in [1, SCRATCH - 1, SCRATCH, SCRATCH + 1, 3 * SCRATCH, 5_000_000] {
        let (moved, ended) = between(
            |stream| async move {
                let (mut read, mut write) = stream.into_split();
                let sending = async {
                    write.write_all(&octets(length)).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let mut got = Vec::new();
                let (read, ()) = tokio::join!(read.read_to_end(&mut got), sending);
                read.unwrap();
                assert!(got == octets(length), "{length}");
            },
            |stream| async move {
                let (mut read, mut write) = stream.into_split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            },
        )
        .await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!((moved.up.get(), moved.down.get()), (length as u64, length as u64));
        assert!(moved.answered.get().is_some());
    }
}

#[tokio::test]
async fn a_way_that_slows_down_goes_on() {
    let (moved, ended) = between(
        |mut stream| async move {
            stream.set_nodelay(true).unwrap();
            stream.write_all(&octets(1_000_000)).await.unwrap();
            let mut answer = [0; 2];
            for number in 0..40_u8 {
                stream.write_all(&[number]).await.unwrap();
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, [number; 2]);
            }
        },
        |mut stream| async move {
            stream.set_nodelay(true).unwrap();
            let mut got = vec![0; 1_000_000];
            stream.read_exact(&mut got).await.unwrap();
            assert!(got == octets(1_000_000));
            while let Ok(number) = stream.read_u8().await {
                stream.write_all(&[number; 2]).await.unwrap();
            }
        },
    )
    .await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!((moved.up.get(), moved.down.get()), (1_000_040, 80));
}

#[tokio::test]
async fn a_closed_half_leaves_the_other_open() {
    let (_, ended) = between(
        |mut stream| async move {
            stream.shutdown().await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"after the end");
        },
        |mut stream| async move {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            stream.write_all(b"after the end").await.unwrap();
        },
    )
    .await;
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_reset_is_told_by_its_side() {
    let reset = |stream: TcpStream| async move { stream.set_zero_linger().unwrap() };
    let wait = |mut stream: TcpStream| async move { drop(stream.read(&mut [0]).await) };
    let (_, ended) = between(reset, wait).await;
    assert!(matches!(ended, Err(Broken::Client)), "{ended:?}");
    let (_, ended) = between(wait, reset).await;
    assert!(matches!(ended, Err(Broken::Endpoint(_))), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_endpoint() {
    let ((outer, mut inner), (mut far, mut near)) = (pair().await, pair().await);
    let (moved, pipes) = (Moved::default(), Pipes::default());
    let passing = run(&mut inner, &mut near, &moved, &pipes, Duration::from_millis(300));
    let sending = async {
        let block = octets(1 << 20);
        let mut sent = 0_u64;
        while far.write_all(&block).await.is_ok() {
            sent += block.len() as u64;
            assert!(sent < 256 << 20, "nothing holds it back");
        }
    };
    tokio::select! {
        ended = passing => assert!(matches!(ended, Err(Broken::Idle)), "{ended:?}"),
        () = sending => panic!("the endpoint was cut"),
    }
    drop(outer);
}
