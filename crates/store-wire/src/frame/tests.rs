//! Frames there and back, cut, damaged, and at their limits.

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Say {
    Number(u64),
    Text(String),
    Nest(Box<Say>),
}

fn encoded(head: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let mut frame = encode_head(head, body.len()).unwrap().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// A frame around a head that no serialiser would make.
fn framed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&length(head)[..], &length(body), head, body].concat()
}

fn decoded<T: serde::de::DeserializeOwned>(mut bytes: &[u8]) -> Result<(T, Bytes), FrameError> {
    let mut decoder = FrameDecoder::default();
    let Some(frame) = decoder.take(&mut bytes)? else {
        decoder.finish()?;
        let missing = PREFIX_BYTES;
        return Err(FrameError::Truncated { missing });
    };
    Ok((frame.message()?, frame.body))
}

#[test]
fn the_longest_lengths_are_taken_and_one_byte_more_refused_before_it_comes() {
    let announced = |head: usize, body: usize| {
        let length = |bytes| u32::try_from(bytes).unwrap().to_le_bytes();
        let prefix = [length(head), length(body)].concat();
        FrameDecoder::default().take(&mut &prefix[..])
    };
    assert_eq!(announced(HEAD_BYTES_MAX, BODY_BYTES_MAX), Ok(None));
    let bytes = HEAD_BYTES_MAX + 1;
    assert_eq!(announced(bytes, 0), Err(FrameError::HeadTooLong { bytes }));
    let bytes = BODY_BYTES_MAX + 1;
    assert_eq!(announced(0, bytes), Err(FrameError::BodyTooLong { bytes }));
}

#[test]
fn the_longest_frame_is_made_and_one_byte_more_refused() {
    assert!(encode_head(&Say::Number(1), BODY_BYTES_MAX).is_ok());
    let outcome = encode_head(&Say::Number(1), BODY_BYTES_MAX + 1);
    assert!(matches!(outcome, Err(EncodeError::BodyTooLong { .. })));
    // A text's head is 1 byte for the map, 5 for its name, 5 for its own length.
    let text = |bytes| Say::Text("x".repeat(bytes));
    let overhead = encode_head(&text(HEAD_BYTES_MAX / 2), 0).unwrap().len()
        - PREFIX_BYTES
        - HEAD_BYTES_MAX / 2;
    assert!(encode_head(&text(HEAD_BYTES_MAX - overhead), 0).is_ok());
    let outcome = encode_head(&text(HEAD_BYTES_MAX - overhead + 1), 0);
    assert!(matches!(outcome, Err(EncodeError::HeadTooLong { .. })));
}

#[test]
fn a_frame_cut_anywhere_is_truncated() {
    let frame = encoded(&Say::Text("hello".to_owned()), b"body");
    for end in 1..frame.len() {
        let outcome = decoded::<Say>(&frame[..end]);
        assert!(
            matches!(outcome, Err(FrameError::Truncated { .. })),
            "{end} bytes gave {outcome:?}"
        );
    }
    assert_eq!(FrameDecoder::default().finish(), Ok(()));
}

#[test]
fn garbage_behind_a_message_is_refused() {
    let mut head = Vec::new();
    ciborium::into_writer(&Say::Number(1), &mut head).unwrap();
    assert!(decoded::<Say>(&framed(&head, b"")).is_ok());
    head.push(0);
    let outcome = decoded::<Say>(&framed(&head, b""));
    assert_eq!(outcome, Err(FrameError::TrailingGarbage { bytes: 1 }));
}

#[test]
fn a_message_nested_too_deep_is_refused() {
    let nested = |depth| {
        let inner = Say::Number(1);
        let say = (0..depth).fold(inner, |say, _| Say::Nest(Box::new(say)));
        decoded::<Say>(&encoded(&say, b"")).map(|_| ())
    };
    assert_eq!(nested(HEAD_DEPTH_MAX / 4), Ok(()));
    assert_eq!(nested(HEAD_DEPTH_MAX), Err(FrameError::TooDeep));
    // Deep enough to end the stack of a decoder without a limit: arrays of one element.
    let head = vec![0x81; HEAD_BYTES_MAX];
    let outcome = decoded::<Say>(&framed(&head, b""));
    assert!(outcome.is_err());
    let outcome = decoded::<Vec<Deep>>(&framed(&head, b"")).map(|_| ());
    assert_eq!(outcome, Err(FrameError::TooDeep));
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Deep {
    #[expect(dead_code, reason = "only its nesting matters")]
    inner: Vec<Deep>,
}

#[test]
fn an_unknown_message_is_refused() {
    #[derive(Serialize)]
    enum Newer {
        Sing(u64),
    }
    let outcome = decoded::<Say>(&encoded(&Newer::Sing(1), b""));
    assert!(matches!(outcome, Err(FrameError::NotUnderstood { .. })));
    let outcome = decoded::<Say>(&framed(&[0xff], b""));
    assert!(matches!(outcome, Err(FrameError::NotUnderstood { .. })));
    let outcome = decoded::<Say>(&framed(b"", b"body"));
    assert!(matches!(outcome, Err(FrameError::NotUnderstood { .. })));
}

#[test]
fn head_and_body_are_allocated_to_their_length() {
    let frame = encoded(&Say::Number(1), &[7; 1000]);
    let mut decoder = FrameDecoder::default();
    // The front is enough for the lengths to be known.
    decoder.take(&mut &frame[..PREFIX_BYTES]).unwrap();
    let partial = format!("{decoder:?}");
    assert!(partial.contains("body_bytes: 1000"), "{partial}");
}

proptest! {
    #[test]
    fn frames_read_back_however_they_are_cut_up(
        frames in proptest::collection::vec(("[a-z]{0,40}", proptest::collection::vec(any::<u8>(), 0..300)), 1..8),
        cuts in proptest::collection::vec(1_usize..50, 1..40),
    ) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(text, body)| encoded(&Say::Text(text.clone()), body))
            .collect();
        let mut decoder = FrameDecoder::default();
        let mut found = Vec::new();
        let mut rest = Bytes::from(bytes);
        let mut cuts = cuts.iter().cycle();
        while rest.has_remaining() {
            let cut = rest.remaining().min(*cuts.next().unwrap());
            let mut packet = rest.split_to(cut);
            while packet.has_remaining() {
                if let Some(frame) = decoder.take(&mut packet).unwrap() {
                    let Say::Text(text) = frame.message().unwrap() else { panic!("not a text") };
                    found.push((text, frame.body.to_vec()));
                }
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(found, frames);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decoded::<Say>(&bytes);
        // The same as a head, so that it gets past the lengths.
        let _ = decoded::<Say>(&framed(&bytes, b""));
        let _ = decoded::<crate::message::ToStore>(&framed(&bytes, b""));
        let _ = decoded::<crate::message::ToProducer>(&framed(&bytes, b""));
        let _ = decoded::<crate::message::Request>(&framed(&bytes, b""));
        let _ = decoded::<crate::message::Response>(&framed(&bytes, b""));
    }
}
