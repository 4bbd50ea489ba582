//! `--key-filter`: which keys are printed.

/// A pattern that a whole key must match: `*` stands for any bytes, `?` for any one byte, `\*`, `\?` and `\\` for
/// themselves. A null key never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Byte(u8),
    Any,
    Many,
}

impl KeyFilter {
    /// The filter that `pattern` describes; every text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut bytes = pattern.bytes().peekable();
        while let Some(byte) = bytes.next() {
            parts.push(match byte {
                // Runs of stars are one.
                b'*' if parts.last() == Some(&Part::Many) => continue,
                b'*' => Part::Many,
                b'?' => Part::Any,
                b'\\' => Part::Byte(bytes.next_if(|next| b"*?\\".contains(next)).unwrap_or(b'\\')),
                _ => Part::Byte(byte),
            });
        }
        Self { parts }
    }

    /// Whether the key matches. Takes at most `key.len()` × pattern length steps.
    #[must_use]
    pub fn matches(&self, key: Option<&[u8]>) -> bool {
        let Some(key) = key else { return false };
        let (mut part, mut at) = (0, 0);
        // Behind the last star: where in the pattern, and where in the key its stretch ends at present.
        let mut star: Option<(usize, usize)> = None;
        while at < key.len() {
            match self.parts.get(part) {
                Some(Part::Many) => {
                    part += 1;
                    star = Some((part, at));
                    continue;
                }
                Some(Part::Any) => {}
                Some(Part::Byte(byte)) if *byte == key[at] => {}
                _ => match &mut star {
                    Some((behind, stretch)) => {
                        *stretch += 1;
                        (part, at) = (*behind, *stretch);
                        continue;
                    }
                    None => return false,
                },
            }
            part += 1;
            at += 1;
        }
        self.parts[part..].iter().all(|part| *part == Part::Many)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyFilter;

    fn matches(pattern: &str, key: &str) -> bool {
        KeyFilter::new(pattern).matches(Some(key.as_bytes()))
    }

    #[test]
    fn a_plain_pattern_is_the_whole_key() {
        assert!(matches("order-1", "order-1"));
        assert!(!matches("order-1", "order-12"));
        assert!(!matches("order-1", "order-"));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
    }

    #[test]
    fn stars_and_question_marks_are_wildcards() {
        for (pattern, key) in [
            ("order-*", "order-"),
            ("order-*", "order-12"),
            ("*", ""),
            ("*-?", "a-b-c"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [("order-*", "orders"), ("?", ""), ("*a", "ab"), ("a*b*c", "acb")] {
            assert!(!matches(pattern, key), "{pattern} {key}");
        }
        assert!(matches("*ab*ab", "abaabab"));
    }

    #[test]
    fn a_backslash_takes_a_wildcard_literally() {
        assert!(matches(r"a\*", "a*"));
        assert!(!matches(r"a\*", "ab"));
        assert!(matches(r"C:\dir\\x", r"C:\dir\x"));
        assert!(matches("a\\", "a\\"));
    }

    #[test]
    fn null_never_matches_and_bytes_need_not_be_text() {
        assert!(!KeyFilter::new("*").matches(None));
        assert!(KeyFilter::new("?\u{0}*").matches(Some(&[0xff, 0, 0xfe])));
    }
}
