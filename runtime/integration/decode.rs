//! Path parameters and queries, decoded.

use percent_encoding::percent_decode_str;

/// A path parameter that is no UTF-8 once it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadParam {
    /// The parameter's name.
    pub(super) name: String,
}

/// Decodes path parameters. A `%` that begins no escape stands for itself.
pub(super) fn params(raw: Vec<(&str, String)>) -> Result<Vec<(String, String)>, BadParam> {
    let decode = |(name, value): (&str, String)| {
        if !value.contains('%') {
            return Ok((name.to_owned(), value));
        }
        match percent_decode_str(&value).decode_utf8() {
            Ok(decoded) => Ok((name.to_owned(), decoded.into_owned())),
            Err(_) => Err(BadParam { name: name.to_owned() }),
        }
    };
    raw.into_iter().map(decode).collect()
}

/// The pairs of a query in order, as HTML forms write them. What is no UTF-8 is replaced by U+FFFD, as the URL standard
/// has it.
#[cfg(feature = "http")]
pub(super) fn query(raw: Option<&str>) -> Vec<(String, String)> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Vec::new() };
    form_urlencoded::parse(raw.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn parameters_are_decoded_once() {
        let decoded = params(vec![("a", "x%20y".into()), ("b", "%252F%2F".into()), ("c", "100%".into())]);
        assert_eq!(decoded, Ok(pairs(&[("a", "x y"), ("b", "%2F/"), ("c", "100%")])));
        assert_eq!(params(vec![("a", "x".into()), ("b", "%ff".into())]), Err(BadParam { name: "b".into() }));
    }

    #[test]
    fn queries_keep_order_and_repeats() {
        assert_eq!(
            query(Some("b=1&a=x+y&b=%C3%A9&c&=d")),
            pairs(&[("b", "1"), ("a", "x y"), ("b", "é"), ("c", ""), ("", "d")])
        );
        assert_eq!(query(Some("a=%ff")), pairs(&[("a", "\u{fffd}")]));
        assert!(query(None).is_empty() && query(Some("")).is_empty());
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(value in any::<String>()) {
            let raw = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(params(vec![("p", raw)]), Ok(vec![("p".to_owned(), value)]));
        }

        #[test]
        fn a_form_comes_back(form in proptest::collection::vec((any::<String>(), any::<String>()), 0..8)) {
            let raw = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
            prop_assert_eq!(query(Some(&raw)), form);
        }

        #[test]
        fn any_text_is_decoded_or_refused_by_name(raw in "\\PC*") {
            query(Some(&raw));
            if let Err(bad) = params(vec![("p", raw)]) {
                prop_assert_eq!(bad.name, "p");
            }
        }
    }
}
