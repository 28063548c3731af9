//! Whatever names guests give their figures, the page is one that a scraper takes.

use serde_json::json;
use weir_config::Grant;
use weir_plugin::{Budget, Guests, Role};

use crate::{
    exposition,
    harness::{Asked, guest, host, plugin, three},
};

#[test]
fn names_of_guests_spoil_no_page() {
    let (host, guests) = (host(), Guests::new());
    let grants = [Grant::Log, Grant::Metrics, Grant::Clock, Grant::Random, Grant::Kv];
    let keeper = host.load(&plugin("keeper", &grants), &guest("keeper")).unwrap();
    guests.route(&keeper.bind(Role::Router, &json!({})).unwrap(), &Budget::default(), &Asked::default()).unwrap();
    // Two plugins of one guest, one before the keeper in the alphabet and one after it.
    for name in ["collider", "spoiler"] {
        let program = host.load(&plugin(name, &grants), &guest("hostile/metrics-that-collide")).unwrap();
        guests
            .pick(&program.bind(Role::Balancer, &json!({})).unwrap(), &Budget::default(), &Asked::default(), &three())
            .unwrap();
    }
    let mut page = String::new();
    host.metrics(&mut page);
    exposition::check(&page).unwrap_or_else(|problem| panic!("{problem}\n{page}"));
    for line in [
        "weir_plugin_custom_dropped_total{plugin=\"collider\"} 6\n",
        "weir_plugin_custom_hidden{plugin=\"keeper\"} 1\n",
        "weir_plugin_custom_hidden{plugin=\"spoiler\"} 0\n",
        "weir_plugin_custom_wait_sum{plugin=\"collider\"} 0.5\n",
        "weir_plugin_custom_wait_sum{plugin=\"keeper\"} 0.25\n",
        "weir_plugin_custom_visits{plugin=\"collider\"} +Inf\n",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

#[test]
fn the_reader_of_the_page_is_strict() {
    let fails = |page: &str| exposition::check(page).unwrap_err();
    let whole = "# TYPE a counter\na{b=\"c\"} 1\na{b=\"d\"} 1\n";
    exposition::check(whole).unwrap();
    assert!(fails(&format!("{whole}a{{b=\"d\"}} 2\n")).contains("series for the second time"));
    assert!(fails(&format!("{whole}# TYPE a gauge\n")).contains("family for the second time"));
    assert!(fails(&format!("{whole}b 1\n")).contains("outside its family"));
    assert!(fails("# TYPE a counter\na{b=\"c} 1\n").contains("without an end"));
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count ";
    exposition::check(&format!("{histogram}3\n")).unwrap();
    assert!(fails(&format!("{histogram}4\n")).contains("differ"));
}
