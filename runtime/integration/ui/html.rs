//! Pieces of HTML.

/// Light and dark, from a telephone to a wide screen.
const STYLE: &str = include_str!("shell.css");

/// Appends `text` so that it is text, in an element as well as in a quoted attribute.
pub(super) fn escape(out: &mut String, text: &str) {
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            sign => out.push(sign),
        }
    }
}

/// Begins a document up to its opened body.
pub(super) fn open(out: &mut String, title: &str) {
    out.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\"><title>");
    escape(out, title);
    out.push_str("</title><style>");
    out.push_str(STYLE);
    out.push_str("</style></head><body>");
}

/// A link; `current`: it leads to where one is.
pub(super) fn link(out: &mut String, path: &str, label: &str, current: bool, class: &str) {
    out.push_str("<a href=\"");
    escape(out, path);
    out.push('"');
    if !class.is_empty() {
        out.push_str(" class=\"");
        out.push_str(class);
        out.push('"');
    }
    if current {
        out.push_str(" aria-current=\"page\"");
    }
    out.push('>');
    escape(out, label);
    out.push_str("</a>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_text_holds_no_markup_and_reads_back(text in any::<String>()) {
            let mut out = String::new();
            escape(&mut out, &text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']), "{}", out);
            let back = out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            prop_assert_eq!(back.replace("&amp;", "&"), text);
        }
    }
}
