use std::net::UdpSocket;

use super::*;

fn connections() -> (SocketAddr, OwnedFd) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket.into())
}

fn datagrams() -> (SocketAddr, OwnedFd) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket.into())
}

fn named(name: &str) -> Label {
    Label { name: name.to_owned(), configured: None, admin: false }
}

fn listener(name: &str, address: &str, protocol: &str) -> weir_config::Listener {
    let text = format!("[listeners.{name}]\naddress = \"{address}\"\nprotocol = \"{protocol}\"\n");
    weir_config::parse(&text, Path::new("weir.toml")).unwrap().config.listeners.remove(0)
}

fn address(bound: Option<Bound>) -> SocketAddr {
    bound.unwrap().address().unwrap()
}

#[test]
fn a_listener_takes_the_socket_of_its_name_wherever_that_is() {
    let mut inherited = Inherited::default();
    let ((one, first), (two, second)) = (connections(), connections());
    inherited.add(named("web"), first).unwrap();
    inherited.add(named("api"), second).unwrap();
    assert_eq!(address(inherited.take(&listener("api", "127.0.0.1:0", "http")).unwrap()), two);
    assert_eq!(address(inherited.take(&listener("web", "127.0.0.1:80", "http")).unwrap()), one);
    assert!(inherited.take(&listener("web", "127.0.0.1:0", "http")).unwrap().is_none(), "it is taken");
}

#[test]
fn of_several_of_one_name_the_one_at_the_address_is_taken() {
    let mut inherited = Inherited::default();
    let ((_, first), (two, second)) = (connections(), connections());
    inherited.add(named("weir.socket"), first).unwrap();
    inherited.add(named("weir.socket"), second).unwrap();
    assert_eq!(address(inherited.take(&listener("web", &two.to_string(), "http")).unwrap()), two);
    assert_eq!(inherited.left().count(), 1);
}

#[test]
fn a_listener_that_moves_elsewhere_binds_anew() {
    let mut inherited = Inherited::default();
    let ((one, first), before) = (connections(), "127.0.0.1:0".parse().unwrap());
    let label = Label { configured: Some(before), ..named("web") };
    inherited.add(label, first).unwrap();
    assert!(inherited.take(&listener("web", "127.0.0.1:81", "http")).unwrap().is_none());
    let renamed = inherited.take(&listener("other", &one.to_string(), "http")).unwrap();
    assert_eq!(address(renamed), one, "another name at the same address");
}

#[test]
fn datagrams_and_connections_are_not_taken_for_each_other() {
    let mut inherited = Inherited::default();
    let (_, socket) = datagrams();
    inherited.add(named("web"), socket).unwrap();
    let fault = inherited.take(&listener("web", "127.0.0.1:0", "http")).unwrap_err();
    assert!(fault.contains("takes datagrams"), "{fault}");
}

#[test]
fn sockets_that_share_a_label_belong_together_and_are_spread_over_workers() {
    let shared = Bound::to("127.0.0.1:0".parse().unwrap(), weir_config::Protocol::Udp, 2).unwrap();
    let mut inherited = Inherited::default();
    for descriptor in shared.descriptors() {
        inherited.add(named("dns"), descriptor.try_clone_to_owned().unwrap()).unwrap();
    }
    let taken = inherited.take(&listener("dns", "127.0.0.1:0", "udp")).unwrap().unwrap();
    assert_eq!(taken.descriptors().len(), 2);
    assert_eq!(taken.spread(3).unwrap().descriptors().len(), 3);
    let (_, alone) = datagrams();
    let alone = Bound::of(Kind::Datagrams, alone).unwrap();
    assert_eq!(alone.spread(3).unwrap().descriptors().len(), 1, "its address cannot be shared");
}

#[test]
fn the_admin_address_has_its_own() {
    let mut inherited = Inherited::default();
    let ((one, first), (two, second)) = (connections(), connections());
    inherited.add(Label { admin: true, ..named("admin") }, first).unwrap();
    inherited.add(named("admin"), second).unwrap();
    assert_eq!(address(inherited.take(&listener("admin", "127.0.0.1:0", "http")).unwrap()), two);
    let admin = inherited.take_admin("admin", "127.0.0.1:9901".parse().unwrap()).unwrap();
    assert_eq!(admin.local_addr().unwrap(), one);
}

#[test]
fn what_is_of_no_use_is_told() {
    let mut inherited = Inherited::default();
    let (address, _listening) = connections();
    let connected = std::net::TcpStream::connect(address).unwrap();
    assert!(inherited.add(named("web"), connected.into()).unwrap_err().contains("Accept=no"));
    let (pair, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
    assert!(inherited.add(named("web"), pair.into()).unwrap_err().contains("no address"));
    assert!(inherited.add(named("web"), std::fs::File::open("/dev/null").unwrap().into()).is_err());
}

#[test]
fn a_unix_socket_goes_to_the_admin_interface_at_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut inherited) = (folder.path().join("a.sock"), Inherited::default());
    let bind = || UnixListener::bind(&path).unwrap();
    inherited.add(named("admin"), bind().into()).unwrap();
    assert_eq!(
        inherited.left().map(|(name, at)| (name.to_owned(), at)).collect::<Vec<_>>(),
        [("admin".to_owned(), path.display().to_string())]
    );
    assert!(inherited.take_admin_unix("admin", &folder.path().join("b.sock")).is_none());
    assert!(inherited.take_admin("admin", "127.0.0.1:0".parse().unwrap()).is_none());
    let taken = inherited.take_admin_unix("admin", &path).unwrap();
    assert_eq!(taken.local_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!(inherited.left().count(), 0);
}
