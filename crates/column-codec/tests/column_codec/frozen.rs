//! Chunks of version 1 as they rest on disks: they must be read for ever, whatever the encoder learns.

use column_codec::{Scratch, encode, parse};
use sensor_model::{Columns, Values};

const SECOND: i64 = 1_000_000_000;

fn seconds(count: i64) -> Vec<i64> {
    (0..count).map(|at| (100 + at) * SECOND).collect()
}

/// A name, the chunk in hexadecimal digits, and the times and values it holds.
type Frozen = (&'static str, &'static str, (Vec<i64>, Values));

fn frozen() -> Vec<Frozen> {
    vec![
        (
            "one decimal, time in seconds",
            "7c050000000001b203",
            (vec![5 * SECOND], Values::F64(vec![21.7])),
        ),
        (
            "one float as bits, time in ns",
            "4c01f2052a01000000ff0000000000000080",
            (vec![5 * SECOND + 1], Values::F64(vec![-0.0])),
        ),
        (
            "one integer, time in ms",
            "6d89130000000005",
            (vec![5 * SECOND + 1_000_000], Values::I64(vec![-3])),
        ),
        (
            "one flag, time in µs",
            "5e414b4c0000000001",
            (vec![5 * SECOND + 1_000], Values::Bool(vec![true])),
        ),
        (
            "one text",
            "7f000000000002c3bc",
            (vec![0], Values::Text(vec!["ü".into()])),
        ),
        (
            "few floats",
            "780364000000000100020102b203020303",
            (seconds(3), Values::F64(vec![21.7, 21.8, 21.6])),
        ),
        (
            "few integers, times out of order",
            "4104030000000000000002020102020c0002",
            (vec![3, 1, 1, 9], Values::I64(vec![1; 4])),
        ),
        (
            "decimals",
            "78116400000000100100020008cdcccccccccc0840030b01000201020003076d8bb645dba2",
            (
                seconds(17),
                Values::F64((0..17).map(|at| f64::from(at % 5) / 10.0).collect()),
            ),
        ),
        (
            "decimals and ulps",
            "781164000000001001002000203433333333332b40030b0100022102000002010100c85000",
            (
                seconds(17),
                Values::F64((0..17).map(|at| f64::from(at) * 0.1).collect()),
            ),
        ),
        (
            "floats as bits",
            "7811640000000010ff6edbb66fa707a14192244974a707a1416edbb66fa707a14192244974a707a141000020e92118e241031e0100022302e29898afa808019c02eff702f44a81f34a6c3602049286020b928602",
            (
                seconds(17),
                Values::F64(
                    (0..17)
                        .map(|at| f64::from(1_000_000_007 + at) / 7.0)
                        .collect(),
                ),
            ),
        ),
        (
            "a dictionary of floats",
            "782064000000001fff0000000000000000555555555555d53f0000000000000000555555555555e53fabaaaaaaaaaa2440031f01000280032e020001aad5f0d7a0940f0201073b1e2d000102002449922449922449",
            (
                seconds(32),
                Values::F64((0..32).map(|at| f64::from(at % 3) / 3.0).collect()),
            ),
        ),
        (
            "a frame with a patch, times out of order",
            "411100000000000000000004000000ffffffffffffffff7fdc8180808080808080020a1701010305745688ce0ad101840010325476f8badcfe000109feffffffffffffff0f",
            (
                (0..17).map(|at| at * at % 7).collect(),
                Values::I64(
                    (0..17)
                        .map(|at| if at == 9 { i64::MAX } else { at % 16 })
                        .collect(),
                ),
            ),
        ),
        (
            "deltas",
            "79116400000000100080fa0100807d80cd100305010002020000d00f",
            (
                seconds(17),
                Values::I64((0..17).map(|at| at * 1_000).collect()),
            ),
        ),
        (
            "runs",
            "7a11640000000010020b030301000200060b",
            (
                seconds(17),
                Values::Bool((0..17).map(|at| at > 5).collect()),
            ),
        ),
        (
            "a bitmap",
            "7a116400000000100206030401000202922401",
            (
                seconds(17),
                Values::Bool((0..17).map(|at| at % 3 == 1).collect()),
            ),
        ),
        (
            "plain texts",
            "7b11640000000010180130023136031f01000200020201000002303132333435363738393130313131323133313431353136",
            (
                seconds(17),
                Values::Text((0..17).map(|at| at.to_string()).collect()),
            ),
        ),
        (
            "a dictionary of texts",
            "7b11640000000010770773746174652030077374617465203003180100020102000e7374617465203073746174652031010100aaaa00",
            (
                seconds(17),
                Values::Text((0..17).map(|at| format!("state {}", at % 2)).collect()),
            ),
        ),
    ]
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

#[test]
fn chunks_of_version_1_are_read_for_ever() {
    for (name, digits, (times, values)) in frozen() {
        let bytes = bytes(digits);
        let view = parse(&bytes).unwrap();
        view.verify(&mut Scratch::new()).unwrap();
        let columns = Columns { times, values };
        let decoded = view.decode().unwrap();
        // Encoding tells floats apart by their bits, where comparing does not.
        let mut again = [Vec::new(), Vec::new()];
        encode(&columns, &mut again[0]).unwrap();
        encode(&decoded, &mut again[1]).unwrap();
        assert_eq!(again[0], again[1], "{name}");
        assert_eq!(decoded, columns, "{name}");
    }
}
