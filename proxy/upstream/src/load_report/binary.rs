//! The binary form of a report: `OrcaLoadReport` of xDS as protobuf has it, in base64.
//!
//! It is read field by field, and what is not known is passed over, as protobuf wants it. A figure of 0 is not
//! sent, so that one which is missing is 0.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{Figures, Unusable};

/// With padding or without, as binary fields of gRPC come.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Fields that are figures.
const FIGURES: [(u64, &str); 5] =
    [(1, "cpu_utilization"), (2, "mem_utilization"), (6, "rps_fractional"), (7, "eps"), (9, "application_utilization")];
/// Fields that are entries of maps.
const MAPS: [(u64, &str); 3] = [(4, "request_cost"), (5, "utilization"), (8, "named_metrics")];

/// Read a report in base64.
pub(super) fn read(text: &[u8], figures: &mut Figures<'_>) -> Result<(), Unusable> {
    let octets = BASE64.decode(text).map_err(|_| Unusable::Malformed)?;
    FIGURES.iter().try_for_each(|(_, name)| figures.take(None, name, 0.0))?;
    let mut message = Message(&octets);
    while !message.0.is_empty() {
        let (number, value) = message.field().ok_or(Unusable::Malformed)?;
        match value {
            Value::Double(figure) => {
                if let Some(name) = named(&FIGURES, number) {
                    figures.take(None, name, figure)?;
                }
            }
            Value::Octets(octets) => {
                if let Some(map) = named(&MAPS, number) {
                    let (key, figure) = entry(octets).ok_or(Unusable::Malformed)?;
                    figures.take(Some(map), key, figure)?;
                }
            }
            Value::Other => {}
        }
    }
    Ok(())
}

fn named(fields: &[(u64, &'static str)], number: u64) -> Option<&'static str> {
    fields.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// An entry of a map from text to figures.
fn entry(octets: &[u8]) -> Option<(&str, f64)> {
    let (mut message, mut key, mut figure) = (Message(octets), "", 0.0);
    while !message.0.is_empty() {
        match message.field()? {
            (1, Value::Octets(text)) => key = std::str::from_utf8(text).ok()?,
            (2, Value::Double(double)) => figure = double,
            _ => {}
        }
    }
    Some((key, figure))
}

/// What is left of a message.
struct Message<'a>(&'a [u8]);

enum Value<'a> {
    Double(f64),
    Octets(&'a [u8]),
    /// Of another kind, which no figure has.
    Other,
}

impl<'a> Message<'a> {
    /// The number of the next field, and its value.
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => self.number().map(|_| Value::Other)?,
            1 => Value::Double(f64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Octets(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (octet, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::LoadReport, *};

    fn double(number: u8, figure: f64) -> Vec<u8> {
        [&[number << 3 | 1][..], &figure.to_le_bytes()].concat()
    }

    fn octets(number: u8, octets: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, octets.len() as u8][..], octets].concat()
    }

    fn named_metric(key: &str, figure: f64) -> Vec<u8> {
        octets(8, &[octets(1, key.as_bytes()), double(2, figure)].concat())
    }

    fn parse(message: &[u8], metric: Option<&str>) -> Result<(f64, f64), Unusable> {
        let report = LoadReport::parse_binary(BASE64.encode(message).as_bytes(), metric);
        report.map(|report| (report.utilization(), report.rate()))
    }

    #[test]
    fn figures_are_found_among_what_is_not_known() {
        let unknown = [&[10 << 3, 0x96, 0x01][..], &[11 << 3 | 5, 1, 2, 3, 4], &octets(12, b"?")].concat();
        let message =
            [double(1, 0.25), unknown, named_metric("queue", 0.75), double(6, 100.0), double(2, 0.5)].concat();
        assert_eq!(parse(&message, None), Ok((0.25, 100.0)));
        assert_eq!(parse(&message, Some("mem_utilization")), Ok((0.5, 100.0)));
        assert_eq!(parse(&message, Some("named_metrics.queue")), Ok((0.75, 100.0)));
        assert_eq!(parse(&message, Some("named_metrics.other")), Err(Unusable::Missing));
        assert_eq!(parse(&message, Some("application_utilization")), Ok((0.0, 100.0)), "0 is not sent");
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let text = BASE64.encode([double(1, 0.5), double(6, 8.0)].concat());
        for text in [text.trim_end_matches('='), &format!("{}==", text.trim_end_matches('='))] {
            if text.len() % 4 == 0 || !text.contains('=') {
                assert_eq!(
                    LoadReport::parse_binary(text.as_bytes(), None).map(|report| report.rate()),
                    Ok(8.0),
                    "{text}"
                );
            }
        }
        assert_eq!(LoadReport::parse(format!("BIN {text}").as_bytes(), None).map(|report| report.rate()), Ok(8.0));
    }

    #[test]
    fn what_is_no_report_is_told() {
        for message in [&[9][..], &[1 << 3 | 3], &[0xff; 11], &octets(8, &[0x0a, 9]), &octets(8, &[0x0a, 1, 0xff])] {
            assert_eq!(parse(message, None), Err(Unusable::Malformed), "{message:?}");
        }
        for figure in [-0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(parse(&double(1, figure), None), Err(Unusable::Malformed));
        }
        assert_eq!(LoadReport::parse_binary(b"no base64!", None).err(), Some(Unusable::Malformed));
    }

    proptest! {
        #[test]
        fn no_octets_harm(octets: Vec<u8>, text: Vec<u8>) {
            if let Ok((utilization, rate)) = parse(&octets, None) {
                prop_assert!(utilization >= 0.0 && rate >= 0.0);
            }
            let _ = LoadReport::parse_binary(&text, Some("named_metrics.queue"));
        }

        #[test]
        fn a_report_that_is_cut_or_spoilt_harms_nothing(
            figures in prop::collection::vec((1_u8..12, 0.0..10.0_f64), 0..6),
            keys in prop::collection::vec("[a-z]{0,8}", 0..3),
            cut in 0_usize..120,
            (at, octet) in (0_usize..120, any::<u8>()),
        ) {
            let figures = figures.iter().flat_map(|(number, figure)| double(*number, *figure));
            let mut message: Vec<u8> = figures.chain(keys.iter().flat_map(|key| named_metric(key, 0.5))).collect();
            prop_assert!(parse(&message, None).is_ok());
            let _ = parse(&message[..cut.min(message.len())], None);
            if let Some(place) = message.get_mut(at) {
                *place = octet;
            }
            if let Ok((utilization, rate)) = parse(&message, Some("named_metrics.a")) {
                prop_assert!(utilization >= 0.0 && rate >= 0.0);
            }
        }
    }
}
