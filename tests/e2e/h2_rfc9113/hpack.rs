//! RFC 7541: header blocks that cannot be decoded end the connection, as they leave both sides with
//! different tables.

use super::{
    Proxy,
    cases::{
        self, Case,
        Expect::{self, Connection, Status},
        case,
    },
    wire::{COMPRESSION_ERROR, HEADERS, PROTOCOL_ERROR, block, frame, integer, request, settings},
};

/// `h2` tells most of them by PROTOCOL_ERROR, which says less and ends the connection as well.
const BROKEN: Expect = Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

/// A request with these octets between its pseudo-headers and its end.
fn appended(name: &'static str, octets: &[u8], expect: Expect) -> Case {
    case(name, [frame(HEADERS, 5, 1, &[&block(&request("GET", "/ping")), octets].concat())], expect)
}

/// A request that begins with these octets.
fn prepended(name: &'static str, octets: &[u8], expect: Expect) -> Case {
    case(name, [frame(HEADERS, 5, 1, &[octets, &block(&request("GET", "/ping"))].concat())], expect)
}

fn table_size(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(&mut out, 0x20, 5, size);
    out
}

#[test]
fn rfc_7541_representations() {
    let proxy = Proxy::start();
    // `example.com` and `/ping` as literals; the other two fields are indexed.
    let indexed = b"\x82\x86\x44\x05/ping\x41\x0bexample.com";
    let never = b"\x82\x86\x14\x05/ping\x11\x0bexample.com";
    // Appendix C.4.1: www.example.com in Huffman code.
    let huffman = b"\x82\x86\x04\x05/ping\x01\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    cases::run(
        proxy.address(),
        &[
            case("indexed, and literals with indexing", [frame(HEADERS, 5, 1, indexed)], Status(1, 200)),
            case("literals never indexed", [frame(HEADERS, 5, 1, never)], Status(1, 200)),
            case("Huffman code", [frame(HEADERS, 5, 1, huffman)], Status(1, 200)),
            case(
                "entries of the dynamic table",
                [frame(HEADERS, 5, 1, indexed), frame(HEADERS, 5, 3, b"\x82\x86\xbf\xbe")],
                Status(3, 200),
            ),
            appended("literal with indexing and a name of its own", b"\x40\x03foo\x03bar", Status(1, 200)),
            appended("literal never indexed and a name of its own", b"\x10\x03foo\x03bar", Status(1, 200)),
            prepended("table size update at the start", &table_size(100), Status(1, 200)),
            prepended(
                "two table size updates at the start",
                &[table_size(0), table_size(4096)].concat(),
                Status(1, 200),
            ),
            prepended("an integer longer than it need be", b"\x3f\x80\x80\x00", Status(1, 200)),
        ],
    );
}

#[test]
fn rfc_7541_errors() {
    let proxy = Proxy::start();
    cases::run(
        proxy.address(),
        &[
            appended("index 0", b"\x80", BROKEN),
            appended("index past both tables", b"\xfe", BROKEN),
            appended("first index of an empty dynamic table", b"\xbe", BROKEN),
            appended("literal with a name past both tables", b"\x7e\x01a", BROKEN),
            appended("index that overflows", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", BROKEN),
            appended("length that overflows", b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x7f", BROKEN),
            appended("name longer than the block", b"\x00\x7eab", BROKEN),
            appended("block that ends before the value", b"\x00\x01a", BROKEN),
            appended("block that ends in an integer", b"\xff", BROKEN),
            appended("table size update at the end", &table_size(1), BROKEN),
            prepended("table size update larger than ours", &table_size(4097), BROKEN),
            prepended("table size update larger than any", b"\x3f\xff\xff\xff\xff\x0f", BROKEN),
            appended(
                "Huffman padding of more than 7 bits",
                b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff",
                BROKEN,
            ),
            appended("Huffman padding of zeros", b"\x00\x85\xf2\xb2\x4a\x87\xff\xff\xff\xff\xff\xff\xff", BROKEN),
            appended("Huffman padding that is no prefix of EOS", b"\x00\x83\x49\x50\x90\x01a", BROKEN),
            appended("EOS in a Huffman string", b"\x00\x84\xff\xff\xff\xff\x01a", BROKEN),
            case(
                "an entry that a smaller table has dropped",
                [
                    frame(HEADERS, 5, 1, b"\x82\x86\x44\x05/ping\x41\x0bexample.com"),
                    frame(HEADERS, 5, 3, b"\x20\x82\x86\xbe\xbf"),
                ],
                BROKEN,
            ),
            case(
                "garbage",
                [settings(&[]), frame(HEADERS, 5, 1, b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")],
                BROKEN,
            ),
        ],
    );
}
