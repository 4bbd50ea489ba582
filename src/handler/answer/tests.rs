use proptest::prelude::*;

use super::*;

/// All at once; then the connection ends if it has to.
fn read(bytes: &[u8]) -> Result<Answered, Wrong> {
    let mut reading = Reading::new();
    if !reading.take(bytes)? {
        reading.end()?;
    }
    Ok(reading.into_answer())
}

/// Without the connection's end.
fn open(bytes: &[u8]) -> Result<Option<Answered>, Wrong> {
    let mut reading = Reading::new();
    Ok(reading.take(bytes)?.then(|| reading.into_answer()))
}

fn whole(bytes: &[u8]) -> Answered {
    open(bytes)
        .unwrap()
        .unwrap_or_else(|| panic!("not whole: {}", String::from_utf8_lossy(bytes)))
}

#[test]
fn a_body_ends_where_its_head_says() {
    for (answer, body) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..],
            &b"ok"[..],
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length:2\r\n\r\nok",
            b"ok",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2;x=y\r\nab\r\n0a\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
            b"ab0123456789",
        ),
        (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\n\n", b"\n"),
    ] {
        let answer = whole(answer);
        assert_eq!(answer.body, body);
        assert!(answer.reusable);
    }
    let untold = b"HTTP/1.1 200 OK\r\n\r\nto the end";
    assert!(open(untold).unwrap().is_none());
    let answer = read(untold).unwrap();
    assert_eq!(
        (answer.body.as_slice(), answer.reusable),
        (&b"to the end"[..], false)
    );
    let coded = read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n1\r\n").unwrap();
    assert_eq!(coded.body, b"1\r\n");
}

#[test]
fn a_connection_is_used_again_only_where_nothing_speaks_against_it() {
    for once in [
        &b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n"[..],
        b"HTTP/1.1 204 x\r\nconnection: keep-alive\r\nConnection: x, Close\r\n\r\n",
        b"HTTP/1.0 204 x\r\n\r\n",
        b"HTTP/1.1 101 x\r\nupgrade: y\r\n\r\n",
        b"HTTP/1.1 204 x\r\n\r\nmore",
        b"HTTP/1.1 204 x\r\ncontent-length: 3\r\n\r\n",
        b"HTTP/1.1 204 x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\nabc",
        b"HTTP/1.1 200 x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert!(!whole(once).reusable, "{}", String::from_utf8_lossy(once));
    }
    assert!(whole(b"HTTP/1.0 204 x\r\nconnection: Keep-Alive\r\n\r\n").reusable);
}

#[test]
fn what_cannot_be_read_in_one_way_is_wrong() {
    let length = |value: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {value}\r\n\r\n").into_bytes();
    for value in ["x", "-1", "+1", "", "1 2", "1, 2", "18446744073709551616", "0x1"] {
        assert_eq!(open(&length(value)).unwrap_err(), Wrong::Length, "{value}");
    }
    let chunks =
        |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes();
    for body in [
        "x\r\n",
        "\r\n",
        " 1\r\n",
        ";\r\n",
        "1\r\nab",
        "1\nab",
        "11111111111111111\r\n",
    ] {
        assert_eq!(open(&chunks(body)).unwrap_err(), Wrong::Chunk, "{body}");
    }
    let old = b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(open(old).unwrap_err(), Wrong::Coding);
    for head in [
        "SSH-2.0\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    ] {
        let wrong = open(head.as_bytes()).unwrap_err();
        assert!(matches!(wrong, Wrong::Head(_)), "{head}: {wrong}");
    }
}

#[test]
fn an_end_within_an_answer_is_told_from_one_before_it() {
    assert_eq!(read(b"").unwrap_err(), Wrong::Nothing);
    assert_eq!(
        read(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_err(),
        Wrong::Nothing
    );
    for half in [
        &b"H"[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    ] {
        assert_eq!(read(half).unwrap_err(), Wrong::Ended);
    }
}

#[test]
fn nothing_grows_without_bound() {
    let endless = |begin: &str, line: &str| {
        let mut reading = Reading::new();
        let mut read = reading.take(begin.as_bytes());
        let mut lines = 0;
        while read == Ok(false) && lines < 100_000 {
            read = reading.take(line.as_bytes());
            lines += 1;
            assert!(reading.rest.len() <= MAX_HEAD + line.len());
        }
        read
    };
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let filler = "x".repeat(997);
    assert_eq!(endless("HTTP/1.1 200 OK\r\nx: ", &filler), Err(Wrong::TooLarge));
    assert!(matches!(
        endless("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        Err(Wrong::Head(_))
    ));
    assert_eq!(endless(&format!("{chunked}1;"), &filler), Err(Wrong::TooLarge));
    assert_eq!(
        endless(&format!("{chunked}0\r\nx: "), &filler),
        Err(Wrong::TooLarge)
    );
    assert_eq!(
        endless(&format!("{chunked}0\r\n"), "x: y\r\n"),
        Err(Wrong::TooLarge)
    );
    // A body that is too long is cut.
    let mut reading = Reading::new();
    let mut is_whole = reading.take(b"HTTP/1.1 400 Bad\r\n\r\n").unwrap();
    while !is_whole {
        is_whole = reading.take(&vec![b'x'; 1 << 16]).unwrap();
    }
    let cut = reading.into_answer();
    assert_eq!((cut.body.len(), cut.status, cut.reusable), (MAX_BODY, 400, false));
}

#[test]
fn of_headers_the_first_of_a_name_is_kept() {
    let answer = whole(
        b"HTTP/1.1 503 x\r\nRetry-After: 3\r\nretry-after: 4\r\nDate: now\r\nLocation: /x\r\nBarnabas-Outcome: skip\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!(answer.status, 503);
    assert_eq!(answer.retry_after.as_deref(), Some(&b"3"[..]));
    assert_eq!(answer.date.as_deref(), Some(&b"now"[..]));
    assert_eq!(answer.location.as_deref(), Some(&b"/x"[..]));
    assert_eq!(answer.outcome.as_deref(), Some(&b"skip"[..]));
    // Of an interim answer none is.
    let answer = whole(b"HTTP/1.1 103 x\r\nlocation: /y\r\n\r\nHTTP/1.1 204 x\r\n\r\n");
    assert_eq!((answer.status, answer.location), (204, None));
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
        cuts in prop::collection::vec(0usize..400, 0..12),
        chunked in any::<bool>(),
    ) {
        let data = chunks.concat();
        let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\n".to_vec();
        if chunked {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nx: y\r\n\r\n");
        } else {
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", data.len()).as_bytes());
            bytes.extend_from_slice(&data);
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut reading = Reading::new();
        let mut is_whole = false;
        for pair in cuts.windows(2) {
            prop_assert!(!is_whole || pair[0] == pair[1], "whole before its end");
            if !is_whole {
                is_whole = reading.take(&bytes[pair[0]..pair[1]]).unwrap();
            }
        }
        prop_assert!(is_whole);
        let answer = reading.into_answer();
        prop_assert_eq!(answer.body, data);
        prop_assert!(answer.reusable);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), head in 0usize..4) {
        let heads = ["", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"];
        let _ = read(&[heads[head].as_bytes(), &bytes].concat());
    }
}
