use proptest::prelude::*;

use weir_config::RequestKey;

use super::*;

use http::header::COOKIE;

fn mark() -> String {
    "m".repeat(90)
}

fn lines(name: http::HeaderName, values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), HeaderValue::try_from(*value).unwrap())).collect()
}

fn texts(headers: &HeaderMap, name: http::HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn marks_go_before_what_a_response_sets() {
    let mut response = lines(SET_COOKIE, &["SID=abc; Path=/", "other=1", "SID=", "SID = \"q\" ;Secure", "SIDE=2"]);
    put_mark("SID", &mut response, || "m".to_owned());
    assert_eq!(texts(&response, SET_COOKIE), ["SID=m~abc; Path=/", "other=1", "SID=", "SID=m~\"q\";Secure", "SIDE=2"]);
}

#[test]
fn marks_are_taken_off_whatever_stands_beside() {
    let marked = format!("a=1; SID={}~abc;b=2;SID=plain", mark());
    let mut request = lines(COOKIE, &[&marked, "SID=short~x", &format!("SID={}~", mark())]);
    assert_eq!(take_marks("SID", &mut request), [mark(), mark()]);
    assert_eq!(texts(&request, COOKIE), ["a=1; SID=abc;b=2;SID=plain", "SID=short~x", "SID="]);
    assert!(take_marks("SID", &mut request).is_empty());
}

#[test]
fn the_last_cookie_that_sets_a_value_is_the_one() {
    let now = SystemTime::now();
    let [past, future] = [now - Duration::from_secs(60), now + Duration::from_secs(60)].map(httpdate::fmt_http_date);
    let last = |lines: &[&str]| {
        last_set("SID", lines.iter().map(|line| line.as_bytes()), now)
            .map(|value| str::from_utf8(value).unwrap().to_owned())
    };
    assert_eq!(last(&["SID=a; Path=/x", "SID=b; Path=/", "other=c"]).as_deref(), Some("b"));
    let (past, future) = (format!("SID=x; Expires={past}"), format!("SID=y; expires={future}"));
    for ended in [
        "SID=; Path=/old",
        "SID=x; Max-Age=0; Path=/old",
        "SID=x; max-age = -1",
        "SID=x; Max-Age=00",
        "SID=x; Max-Age=60; Max-Age=0",
        "SID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/",
        "SID=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "SID=x; Expires=Thu, 01-Jan-70 00:00:01 GMT",
        "SID=x; Expires=Thu, 01 Jan 1970 00:00:00 UTC",
        "SID=x; Expires=Wed, 31-Dec-1969 23:59:59 GMT",
        "SID=x; Expires=Thu Jan  1 00:00:00 1970",
        "SID=x; Expires=Mon, 01-Jan-0001 00:00:00 GMT",
        "SID=x; Expires=1 january 2001, 1:02:03",
        &past,
    ] {
        assert_eq!(last(&[ended]), None, "{ended}");
        assert_eq!(last(&[ended, "SID=k1; Path=/"]).as_deref(), Some("k1"), "{ended}");
        assert_eq!(last(&["SID=k1; Path=/", ended]).as_deref(), Some("k1"), "{ended}");
    }
    for lasting in [
        "SID=y; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "SID=y; Max-Age=-",
        "SID=y; Max-Age=0s",
        "SID=y; Max-Age",
        "SID=y; Expires=someday",
        "SID=y; Expires=Sat, 31-Feb-2001 00:00:00 GMT",
        "SID=y; Expires=Mon, 01-Jan-69 00:00:00 GMT",
        "SID=y; X-Max-Age=0",
        &future,
    ] {
        assert_eq!(last(&["SID=k1; Path=/", lasting]).as_deref(), Some("y"), "{lasting}");
    }
}

#[test]
fn the_value_a_response_gives() {
    let cookie = |name: &str| AffinityKind::Key {
        by: RequestKey::Cookie(name.to_owned()),
        learn: Some(ResponseKey::Cookie(name.to_owned())),
    };
    let response = lines(SET_COOKIE, &["a=1", "SID=abc; HttpOnly", "E=; Max-Age=0"]);
    assert_eq!(given(&cookie("SID"), &response), Some(&b"abc"[..]));
    assert_eq!(given(&cookie("E"), &response), None, "an empty value names no session");
    assert_eq!(given(&cookie("sid"), &response), None, "names of cookies have a case");
    let header = AffinityKind::Key {
        by: RequestKey::Query("s".to_owned()),
        learn: Some(ResponseKey::Header("x-session".to_owned())),
    };
    let response = lines(http::HeaderName::from_static("x-session"), &["7"]);
    assert_eq!(given(&header, &response), Some(&b"7"[..]));
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_borne(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        let mut request = HeaderMap::from_iter([(COOKIE, value.clone())]);
        if take_marks("S", &mut request).is_empty() {
            prop_assert_eq!(&request[COOKIE], &value);
        }
        let mut response = HeaderMap::from_iter([(SET_COOKIE, value)]);
        put_mark("S", &mut response, mark);
    }

    #[test]
    fn what_was_put_on_comes_off(value in "[!#-+\\--:<-\\[\\]-~]{1,40}", before in "(a=1; ?)?", after in "(; ?b=2)?") {
        let mut response = lines(SET_COOKIE, &[&format!("S={value}; Path=/")]);
        put_mark("S", &mut response, mark);
        let set = response[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut request = lines(COOKIE, &[&format!("{before}{set}{after}")]);
        prop_assert_eq!(take_marks("S", &mut request), [mark()]);
        prop_assert_eq!(request[COOKIE].to_str().unwrap(), format!("{before}S={value}{after}"));
    }
}
