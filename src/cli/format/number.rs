//! Decimal numbers without the formatting machinery, which costs more than the rest of a record.

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends `number` in decimal.
#[inline]
pub(super) fn append(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    while rest >= 10 {
        let pair = usize::try_from(rest % 100).unwrap_or(0) * 2;
        rest /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    // An odd digit is left, or nothing, or (for 0) the one digit there is.
    if rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest).unwrap_or(0);
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a length in bytes, or −1 for null.
pub(super) fn append_length(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    append(
        bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX)),
        out,
    );
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn numbers_are_printed_as_the_standard_library_does() {
        let around = (0..19).flat_map(|power| {
            let ten = 10_i64.pow(power);
            [ten - 1, ten, ten + 1, 11 * (ten / 2)]
        });
        for number in around
            .flat_map(|n| [n, -n])
            .chain([0, i64::MIN, i64::MAX])
            .chain(0..1000)
        {
            let mut out = Vec::new();
            append(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
