//! Any octets as a PROXY header: no panic, a verdict that stands, and what is understood can be passed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_preamble::{
    Header,
    proxy::{LONGEST, Tlvs, read},
};

fuzz_target!(|input: &[u8]| {
    let verdict = read(input);
    match &verdict {
        Ok(None) => {}
        Ok(Some((header, length))) => {
            assert!(*length <= input.len() && *length <= LONGEST);
            assert_eq!(read(&input[..*length]), verdict, "what follows a header does not matter");
            assert!((0..*length).all(|end| read(&input[..end]) == Ok(None)), "decided before its end");
            let octets = header.octets();
            let again = read(&octets).expect("our own header").expect("a whole one");
            // What has no addresses is passed on as unspecified, which says nothing else.
            let tlvs = if header.addresses.is_some() { header.tlvs.clone() } else { Tlvs::default() };
            assert_eq!(again, (Header { tlvs, ..header.clone() }, octets.len()));
        }
        Err(_) => assert_eq!(read(&[input, b"more"].concat()), verdict, "a fault stands"),
    }
});
