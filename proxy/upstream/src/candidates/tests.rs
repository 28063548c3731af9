use super::*;
use crate::{cluster::Cluster, fixture};

fn label(value: &str) -> Vec<(String, String)> {
    vec![("version".to_owned(), value.to_owned())]
}

/// Endpoints of weight 1, 2, 3, of which the last two are of version `v2`.
fn candidates() -> Candidates {
    let mut config = fixture::cluster(&[1, 2, 3]);
    for endpoint in config.endpoints.iter_mut().skip(1) {
        endpoint.labels = label("v2").into_iter().collect();
    }
    Candidates::clone(&Cluster::build(&config, None).candidates())
}

#[test]
fn labels_narrow_and_the_same_labels_give_the_same_set() {
    let whole = candidates();
    let subset = whole.with_labels(&label("v2"));
    assert_eq!((subset.len(), subset.weight(0), subset.weight(1)), (2, 2, 3));
    assert_eq!(whole.with_labels(&label("v2")).epoch(), subset.epoch());
    assert_ne!(subset.epoch(), whole.epoch());
    assert_eq!((subset.full_weight(0), subset.full_weight(1)), (200, 300));
    assert!(whole.with_labels(&label("v3")).is_empty());
    assert_eq!(whole.with_labels(&[]).epoch(), whole.epoch());
}

#[test]
fn ever_other_labels_take_no_more_room() {
    let whole = candidates();
    for number in 0..1_000 {
        whole.with_labels(&label(&number.to_string()));
    }
    assert_eq!(whole.0.subsets.load().len(), MOST_SUBSETS);
    assert_eq!(whole.with_labels(&label("v2")).len(), 2);
}

#[test]
fn without_leaves_the_others_with_their_weights() {
    let whole = candidates();
    let gone = whole.get(1).unwrap().id();
    let rest = whole.without(&[gone]);
    assert_eq!((rest.len(), rest.weight(0), rest.weight(1)), (2, 1, 3));
    assert_ne!(rest.epoch(), whole.epoch());
    assert_eq!(rest.weight(2), 0);
}

#[test]
fn a_common_divisor_is_taken_out() {
    let cluster = Cluster::build(&fixture::cluster(&[4, 6]), None);
    let candidates = cluster.candidates();
    assert_eq!((candidates.weight(0), candidates.weight(1)), (2, 3));
    assert_eq!((candidates.full_weight(0), candidates.full_weight(1)), (400, 600));
}

#[test]
fn without_all_of_them_those_that_stand_in_are_left() {
    let mut config = fixture::cluster(&[1, 1, 1]);
    config.endpoints[1].priority = 1;
    config.endpoints[2].backup = true;
    let cluster = Cluster::build(&config, None);
    let (candidates, mut failed) = (cluster.candidates(), Vec::new());
    for name in ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002"] {
        let left = candidates.without(&failed);
        assert_eq!(left.iter().map(|endpoint| endpoint.name()).collect::<Vec<_>>(), [name]);
        failed.push(left.get(0).unwrap().id());
    }
    assert!(candidates.without(&failed).is_empty());
}
