//! Any octets as a ClientHello: no panic, and a verdict that stands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_preamble::hello::read;

fuzz_target!(|input: &[u8]| {
    let verdict = read(input);
    match &verdict {
        Ok(None) => {}
        Ok(Some(hello)) => {
            assert!(hello.sni.as_ref().is_none_or(|name| !name.is_empty() && name.len() <= 253));
            assert!(hello.alpn.iter().all(|name| !name.is_empty()));
            assert_eq!(read(&[input, b"more"].concat()), verdict, "what follows a hello does not matter");
        }
        Err(_) => assert_eq!(read(&[input, b"more"].concat()), verdict, "a fault stands"),
    }
});
