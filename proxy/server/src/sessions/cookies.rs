//! Cookies of requests and responses, as far as sessions are known by them.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, Entry, SET_COOKIE},
};
use weir_upstream::affinity::{prefixed, unprefixed};

/// Value and attributes, with their semicolon, of a Set-Cookie line for this cookie.
fn set_cookie<'l>(name: &str, line: &'l [u8]) -> Option<(&'l [u8], &'l [u8])> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let (pair, attributes) = line.split_at_checked(end)?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?.trim_ascii();
    (key.trim_ascii() == name.as_bytes()).then_some((value, attributes))
}

/// The last value that these Set-Cookie lines give this cookie. A line without a value gives none, and neither does
/// one that has ended by now: it only takes away what an application set before, mostly under another path.
pub(super) fn last_set<'l>(name: &str, lines: impl Iterator<Item = &'l [u8]>, now: SystemTime) -> Option<&'l [u8]> {
    let set = lines.filter_map(|line| set_cookie(name, line));
    let lasting = set.filter(|(value, attributes)| !value.is_empty() && !has_ended(attributes, now));
    lasting.last().map(|(value, _)| value)
}

/// Whether a cookie with these attributes is none at all (RFC 6265 section 5.2): `Max-Age` goes before `Expires`, the last
/// of each counts, and what cannot be read is not there.
fn has_ended(attributes: &[u8], now: SystemTime) -> bool {
    let attributes = str::from_utf8(attributes).unwrap_or_default().split(';').filter_map(|pair| pair.split_once('='));
    let (mut by_age, mut by_date) = (None, None);
    for (name, value) in attributes {
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("max-age") {
            by_age = is_no_age(value).or(by_age);
        } else if name.eq_ignore_ascii_case("expires") {
            by_date = date(value).map(|date| date <= now).or(by_date);
        }
    }
    by_age.or(by_date).unwrap_or(false)
}

/// Whether seconds are zero or fewer; none where they are no number.
fn is_no_age(seconds: &str) -> Option<bool> {
    let digits = seconds.strip_prefix('-').unwrap_or(seconds);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| seconds.starts_with('-') || digits.bytes().all(|byte| byte == b'0'))
}

/// A date as browsers read it (RFC 6265 section 5.1.1): words in about any order and between about any marks, years of
/// two digits too. One before 1970 is given as 1970.
fn date(text: &str) -> Option<SystemTime> {
    let (mut clock, mut day, mut month, mut year) = (None, None, None, None);
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':') {
        let number = || word.parse::<u16>().ok().filter(|_| word.len() <= 4);
        if clock.is_none() && word.contains(':') {
            clock = clock_of(word);
        } else if day.is_none() && word.len() <= 2 && number().is_some() {
            day = number();
        } else if month.is_none() && month_of(word).is_some() {
            month = month_of(word);
        } else if year.is_none() && word.len() >= 2 {
            year = number();
        }
    }
    let year = match year? {
        year @ 70..100 => year + 1900,
        year @ ..70 => year + 2000,
        year => year,
    };
    if (1601..1970).contains(&year) {
        return Some(SystemTime::UNIX_EPOCH);
    }
    let [hour, minute, second] = clock?;
    let rest = format!("{:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", day?, month?);
    // Browsers do not look at the day of the week; the parser wants the right one.
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    days.iter().find_map(|day| httpdate::parse_http_date(&format!("{day}, {rest}")).ok())
}

fn clock_of(word: &str) -> Option<[u8; 3]> {
    let parts: Vec<u8> = word.split(':').map_while(|part| part.parse().ok()).collect();
    parts.try_into().ok()
}

fn month_of(word: &str) -> Option<&'static str> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let start = word.get(..3)?;
    MONTHS.into_iter().find(|month| start.eq_ignore_ascii_case(month))
}

/// Puts the mark before every value that a response sets for this cookie.
pub(super) fn put_mark(name: &str, response: &mut HeaderMap, mark: impl Fn() -> String) {
    let Entry::Occupied(mut lines) = response.entry(SET_COOKIE) else { return };
    for line in lines.iter_mut() {
        let Some((value, attributes)) = set_cookie(name, line.as_bytes()) else { continue };
        if value.is_empty() {
            continue;
        }
        let marked = [name.as_bytes(), b"=", &prefixed(&mark(), value), attributes];
        if let Ok(marked) = HeaderValue::from_bytes(&marked.concat()) {
            *line = marked;
        }
    }
}

/// Takes the marks off every cookie of this name, so that the application sees its own values, and
/// gives them in order.
pub(super) fn take_marks(name: &str, request: &mut HeaderMap) -> Vec<String> {
    let mut marks = Vec::new();
    let Entry::Occupied(mut lines) = request.entry(COOKIE) else { return marks };
    for line in lines.iter_mut() {
        if let Some(unmarked) = unmarked(name, line.as_bytes(), &mut marks) {
            *line = unmarked;
        }
    }
    marks
}

/// The line without the marks on cookies of this name; none where it has none.
fn unmarked(name: &str, line: &[u8], marks: &mut Vec<String>) -> Option<HeaderValue> {
    let before = marks.len();
    let pairs: Vec<Vec<u8>> = line
        .split(|byte| *byte == b';')
        .map(|pair| {
            let value = pair.trim_ascii_start().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            match value.and_then(unprefixed) {
                Some((mark, value)) => {
                    marks.push(mark.to_owned());
                    let blank = pair.len() - pair.trim_ascii_start().len();
                    [pair.get(..blank).unwrap_or_default(), name.as_bytes(), b"=", value].concat()
                }
                None => pair.to_vec(),
            }
        })
        .collect();
    if marks.len() == before {
        return None;
    }
    HeaderValue::from_bytes(&pairs.join(&b';')).ok()
}
