//! Answers of an authority that a certificate is not revoked (RFC 6960), given to clients with it.

use std::time::SystemTime;

use der::{
    Decode, Enumerated, Sequence, Tag, Tagged,
    asn1::{Any, BitString, GeneralizedTime, Int, ObjectIdentifier, OctetString},
};

/// An answer that can be given.
#[derive(Debug)]
pub struct Staple {
    /// As the authority signed it.
    pub octets: Vec<u8>,
    /// After this it is of no use; none is always.
    pub until: Option<SystemTime>,
}

impl Staple {
    /// From an answer in DER about the certificate of this serial number.
    ///
    /// # Errors
    /// It is none, or not about this certificate, or says that it is revoked.
    pub fn parse(octets: Vec<u8>, serial: &[u8]) -> Result<Self, String> {
        let fault = |error: der::Error| format!("not an OCSP response: {error}");
        let response = Response::from_der(&octets).map_err(fault)?;
        let body = match (response.status, response.body) {
            (Status::Successful, Some(body)) if body.kind == BASIC => body,
            (status, _) => return Err(format!("the OCSP response is an error: {status:?}")),
        };
        let answers = Basic::from_der(body.response.as_bytes()).map_err(fault)?.data.answers;
        let ours =
            answers.into_iter().find(|answer| significant(answer.certificate.serial.as_bytes()) == significant(serial));
        let ours = ours.ok_or("the OCSP response is about another certificate")?;
        match ours.status.tag() {
            Tag::ContextSpecific { number, .. } if number.value() == 0 => {}
            _ => return Err("the OCSP response does not say that the certificate is good".to_owned()),
        }
        Ok(Self { octets, until: ours.next_update.map(|time| time.to_system_time()) })
    }

    /// Whether clients still take it for an answer.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Without the zero that keeps a number positive.
fn significant(serial: &[u8]) -> &[u8] {
    serial.strip_prefix(&[0]).unwrap_or(serial)
}

/// `id-pkix-ocsp-basic`
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u8)]
enum Status {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SignatureRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct Response {
    status: Status,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    body: Option<Body>,
}

#[derive(Sequence)]
struct Body {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct Basic {
    data: Data,
    algorithm: Any,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Any>,
}

#[derive(Sequence)]
struct Data {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<Any>,
    responder: Any,
    produced: GeneralizedTime,
    answers: Vec<Answer>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Any>,
}

#[derive(Sequence)]
struct Answer {
    certificate: Subject,
    status: Any,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Any>,
}

#[derive(Sequence)]
struct Subject {
    algorithm: Any,
    issuer_name: OctetString,
    issuer_key: OctetString,
    serial: Int,
}
